"""How a network computes: in training or evaluation mode for a while, keeping what its blocks compute or not."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
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
        norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
        again = partial(checkpoint, use_reentrant=False)
        block._gradient_checkpointing_func = partial(again, context_fn=partial(_noted_once, norms)) if norms else again


def _noted_once(norms: Sequence[_BatchNorm]) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the forward pass and around its repetition: there the statistics of the batch are not noted again."""
    return nullcontext(), _unnoted(norms)


@contextmanager
def _unnoted(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    # What is saved for the backward pass must be as much as before: they go on to note, with no weight.
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None]
    for norm, _, count in before:
        norm.momentum, norm.num_batches_tracked = 0.0, count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count


def _is_block(module: nn.Module) -> bool:
    """Whether transformers can compute it again, and nothing within it: not a stage, whose blocks would be twice."""
    kinds = [isinstance(each, GradientCheckpointingLayer) for each in module.modules()]
    return kinds[0] and sum(kinds) == 1
