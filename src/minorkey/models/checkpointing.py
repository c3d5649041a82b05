"""Activation checkpointing: compute a backbone's blocks again in the backward pass, and keep less meanwhile."""

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from minorkey.errors import ModelError
from minorkey.models.build import backbone_of
from minorkey.models.timm_backbone import TimmFeatures


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
