"""Parts of transformers' models in which the host waits for the device, so that it cannot queue what comes next.

Nothing that they compute is changed.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.d_fine.modeling_d_fine import DFineDecoder, DFineEncoderLayer
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrEncoderLayer
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
    multi_scale_deformable_attention,
)
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2Decoder, RTDetrV2EncoderLayer

GUARDED = (
    Mask2FormerPixelDecoderEncoderLayer,
    DeformableDetrEncoderLayer,
    RTDetrV2EncoderLayer,
    DFineEncoderLayer,
)
"""Layers that end, in training, with a look at whether all is finite, and clamp what is not."""

CHECKED = (RTDetrV2Decoder, DFineDecoder)
"""Decoders each of whose layers compares the sizes of the maps with the length of the sequence."""


def let_run_ahead(model: nn.Module) -> None:
    """Take the waits out of a model, in place; it stays one of transformers' own, with the same weights."""
    for module in model.modules():
        if isinstance(module, GUARDED):
            _drop_guard(module)
        if isinstance(module, CHECKED):
            module.register_forward_pre_hook(_sizes_on_host, with_kwargs=True)
        if type(module) is Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention:
            module.__class__ = DeformableAttention


def _drop_guard(layer: nn.Module) -> None:
    """What is not finite is to end the training, as it does elsewhere; autocast computes the last norm in float32.

    The guard is all that asks, after that norm, whether the layer is in training. The hooks hold the layer in a way
    that is copied with it.
    """
    layer.register_forward_pre_hook(_remember_mode)
    norm: Any = layer.final_layer_norm
    norm.register_forward_hook(partial(_leave_training, layer))
    layer.register_forward_hook(_restore_mode, always_call=True)


def _remember_mode(layer: Any, inputs: tuple) -> None:
    layer.mode = layer.training


def _leave_training(layer: nn.Module, norm: nn.Module, inputs: tuple, output: Tensor) -> None:
    layer.training = False


def _restore_mode(layer: Any, inputs: tuple, output: Any) -> None:
    layer.training = layer.mode


def _sizes_on_host(decoder: nn.Module, inputs: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Sizes that are compared alone: with boxes to refine nothing is computed with them."""
    return inputs, {**named, "spatial_shapes": torch.tensor(named["spatial_shapes_list"])}


class DeformableAttention(Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
    """The attention of Mask2Former's pixel decoder, with the sizes of the maps sent to the device once.

    Those of transformers 5.17 to 5.23, for points `(B, S, L, 2)`, as the pixel decoder has them.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        position_embeddings: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes_list: Any = None,
        level_start_index: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """As the class above: features `(B, S, C)` and weights `(B, S, heads, L, points)`."""
        assert encoder_hidden_states is not None
        assert reference_points is not None
        queries = self.with_pos_embed(hidden_states, position_embeddings)
        value = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value.masked_fill(attention_mask[..., None], 0.0)
        value = value.unflatten(2, (self.n_heads, -1))
        offsets = self.sampling_offsets(queries).unflatten(2, (self.n_heads, self.n_levels, self.n_points, 2))
        weights = self.attention_weights(queries).unflatten(2, (self.n_heads, -1)).softmax(-1)
        weights = weights.unflatten(3, (self.n_levels, self.n_points))
        sides = self._sides(tuple(map(tuple, spatial_shapes_list)), reference_points.device)
        places = reference_points[:, :, None, :, None, :] + offsets / sides[:, None]
        found = multi_scale_deformable_attention(value, spatial_shapes_list, places, weights)
        return self.output_proj(found), weights

    def _sides(self, shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
        """Width and height of each map `(L, 2)`, kept for the next call."""
        if torch.compiler.is_compiling():  # fills, which fuse into what reads them: a graph can keep no table
            sides = [torch.full((), side, device=device) for height, width in shapes for side in (width, height)]
            return torch.stack(sides).unflatten(0, (-1, 2))
        kept: dict[Any, Tensor] = self.__dict__.setdefault("sides", {})
        if (shapes, device) not in kept:
            made = torch.tensor([[width, height] for height, width in shapes], device=device)
            if type(made) is not Tensor or made.is_inference():  # of a rehearsal without values; of no use to training
                return made
            kept[shapes, device] = made
        return kept[shapes, device]
