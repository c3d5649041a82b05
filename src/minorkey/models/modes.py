"""How a network computes: in training or evaluation mode for a while, keeping what its blocks compute or not."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from minorkey.errors import ModelError
from minorkey.models.build import backbone_of
from minorkey.models.timm_backbone import TimmFeatures


@contextmanager
def evaluating(
    network: nn.Module, training: Iterable[nn.Module] = (), modules: Sequence[nn.Module] | None = None
) -> Iterator[None]:
    """Evaluation mode but for the modules in `training`; afterwards every module is in the mode that was its own.

    Args:
        network: the whole.
        training: these train meanwhile.
        modules: all of the network, where they are known: looking them up takes longer than switching them.
    """
    modules = list(network.modules()) if modules is None else modules
    trained = [module for module in modules if module.training]
    _set(trained, False)
    for module in training:
        module.train()
    try:
        yield
    finally:
        _set(modules, False)
        _set(trained, True)


def _set(modules: Iterable[nn.Module], mode: bool) -> None:
    # Past the `__setattr__` of modules, which looks for parameters of the name first: it would be most of the time.
    for module in modules:
        object.__setattr__(module, "training", mode)


def checkpoint_blocks(model: nn.Module) -> None:
    """Let the backbone of a segmentation model keep the inputs of its blocks alone while it trains.

    The gradients are the same. transformers' own switch is refused by models whose class does not claim to support
    it, whatever their backbone; this one concerns the blocks of the backbone, wherever the model has it.

    Raises:
        ModelError: the backbone has no blocks that can be computed again.
    """
    backbone = backbone_of(model)
    if isinstance(backbone, TimmFeatures):
        backbone.network.set_grad_checkpointing(True)
        return
    blocks: list[Any] = [module for module in backbone.modules() if _is_block(module)]
    if not blocks:
        raise ModelError(
            f"the blocks of {type(backbone).__name__} cannot be computed again in the backward pass; "
            "train without gradient checkpointing, or take a ViT or Swin backbone"
        )
    for block in blocks:
        block.gradient_checkpointing = True
        # Without re-entering autograd: frozen blocks in front of adapted ones give no input that needs a gradient.
        block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def _is_block(module: nn.Module) -> bool:
    """Whether transformers can compute it again, and nothing within it: not a stage, whose blocks would be twice."""
    kinds = [isinstance(each, GradientCheckpointingLayer) for each in module.modules()]
    return kinds[0] and sum(kinds) == 1
