"""Masked consistency for plain ViTs: patch tokens are dropped, so that the blocks compute the kept ones alone.

The form of masked image consistency (MIC, arXiv 2212.01322) in VFM-UDA++ (arXiv 2503.10685), and the trick of masked
autoencoders (arXiv 2111.06377): hiding 70 % of the tokens costs less than a full pass, where hiding pixels costs as
much. The feature maps come out at full resolution, so that a loss can count every pixel.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from minorkey.errors import ModelError
from minorkey.models.build import backbone_of
from minorkey.models.heads.segmentation.eomt import EomtEncoder


@dataclass(frozen=True)
class PlainVit:
    """Where a backbone's full tokens have to be back, and what makes its rotary position embeddings, if anything."""

    end: Callable[[Any], nn.Module]
    rotary: str | None = None
    maps: Callable[[Any], Sequence[int]] = attrgetter("out_indices")  # the hidden states that are feature maps


def _before_queries(encoder: EomtEncoder) -> nn.Module:
    """The last block of an EoMT that sees no queries: those that do read the tokens as a grid."""
    full: int = encoder.config.num_blocks
    if full == len(encoder.layers):
        raise ModelError(
            f"all {full} blocks of this eomt see queries and need all tokens; mask pixels instead of tokens"
        )
    return encoder.layers[-full - 1]


PLAIN_VITS = {
    "dinov2": PlainVit(attrgetter("encoder")),
    "dinov2_with_registers": PlainVit(attrgetter("encoder")),
    "dinov3_vit": PlainVit(attrgetter("model"), rotary="rope_embeddings"),
    "eomt": PlainVit(_before_queries, maps=lambda encoder: ()),
}
"""Backbones whose tokens can be dropped, by model type."""


class TokenDropping:
    """The hooks that drop tokens and put feature maps back together, and what the last forward pass kept."""

    kept: Tensor  # (B, h, w) bool, one per patch of the input, which may be padded to whole patches

    def __init__(self, patch: int, stages: Sequence[int], ratio: float, generator: torch.Generator | None) -> None:
        self.patch = patch
        self.stages = stages
        self.ratio = ratio
        self.generator = generator

    def drop(self, embeddings: nn.Module, inputs: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        """Draw, and leave out what is dropped: `(B, prefix + n, C)` of `(B, prefix + h w, C)`."""
        height, width = (side // self.patch for side in inputs[0].shape[-2:])
        scores = torch.rand(len(tokens), height * width, generator=self.generator, device=tokens.device)
        self.indices = kept_indices(scores, self.ratio)
        self.sources = nearest_kept(self.indices, width, scores)
        self.kept = (
            torch.zeros_like(scores, dtype=torch.bool).scatter(1, self.indices, True).unflatten(1, (height, width))
        )
        self.prefix = tokens.shape[1] - height * width
        return take_tokens(tokens, self.indices, self.prefix)

    def drop_rotary(self, rotary: nn.Module, inputs: tuple, output: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Cosines and sines `(h w, d)` of the kept tokens of each image, for all heads: `(B, 1, n, d)`."""
        return tuple(each[self.indices][:, None] for each in output)

    def restore(self, module: nn.Module, inputs: tuple, output: Any) -> Any:
        """A block's tokens at full length; or an encoder's output, with the hidden states that are feature maps so."""
        if isinstance(output, Tensor):
            return take_tokens(output, self.sources, self.prefix)
        states = list(output.hidden_states)
        for stage in self.stages:
            states[stage] = take_tokens(states[stage], self.sources, self.prefix)
        return type(output)(**{**output, "hidden_states": tuple(states)})


@contextmanager
def dropped_tokens(
    model: nn.Module, ratio: float = 0.7, generator: torch.Generator | None = None
) -> Iterator[TokenDropping]:
    """Inside, a forward pass runs the ViT on a random part of the patch tokens, as many for each image.

    Class and register tokens stay. Each pass draws anew. Where a token was dropped, the feature maps repeat the nearest
    kept one of the same image: a real feature of the same surroundings, which every head can read. (The mean of all
    kept tokens would say nothing of the place, and a constant is nothing that a head was trained on.) The blocks of an
    EoMT that see its queries have all tokens, likewise. With `ratio` 0 the output is the plain one, bit for bit.

    Args:
        model: a segmentation model of this package around a DINOv2 or DINOv3 ViT, bare or wrapped for data parallelism.
        ratio: share of the patch tokens to drop, in [0, 1); at least one is kept.
        generator: on the device of the model; None: the device's own.

    Yields:
        Which tokens the last pass kept, as `kept`.

    Raises:
        ModelError: the backbone is no plain ViT whose tokens can be dropped.
    """
    backbone: Any = backbone_of(extract_model_from_parallel(model))
    kind = backbone.config.model_type
    if kind not in PLAIN_VITS:
        raise ModelError(
            f"tokens can be dropped in backbones {', '.join(PLAIN_VITS)}, got {kind}; mask pixels instead of tokens"
        )
    vit = PLAIN_VITS[kind]
    dropping = TokenDropping(backbone.config.patch_size, vit.maps(backbone), ratio, generator)
    handles = [
        vit.end(backbone).register_forward_hook(dropping.restore),  # first: an EoMT may have none
        backbone.embeddings.register_forward_hook(dropping.drop),
    ]
    if vit.rotary is not None:
        handles.append(getattr(backbone, vit.rotary).register_forward_hook(dropping.drop_rotary))
    try:
        yield dropping
    finally:
        for handle in handles:
            handle.remove()


def kept_indices(scores: Tensor, ratio: float) -> Tensor:
    """The round((1 - ratio) N) highest of `scores` `(B, N)`, at least one: indices `(B, n)`, ascending."""
    count = max(1, round((1 - ratio) * scores.shape[1]))
    return scores.argsort(dim=1)[:, -count:].sort(dim=1).values


def nearest_kept(indices: Tensor, width: int, scores: Tensor) -> Tensor:
    """For every position of a grid the nearest kept one; of a kept one itself.

    Args:
        indices: `(B, n)`, the kept positions, row by row.
        width: columns of the grid.
        scores: `(B, N)` in [0, 1), one per position; of kept ones at the same distance the lowest is taken.

    Returns:
        `(B, N)`, indices into the n kept ones.
    """
    places = torch.arange(scores.shape[1], device=scores.device)
    rows, columns = (places // width).float(), (places % width).float()
    nearest = []  # one image at a time: the table of distances is large
    for kept, score in zip(indices, scores, strict=True):
        squared = (rows[:, None] - rows[kept]) ** 2 + (columns[:, None] - columns[kept]) ** 2
        nearest.append((squared + score[kept]).argmin(dim=1))  # squared distances are whole numbers
    return torch.stack(nearest)


def take_tokens(tokens: Tensor, indices: Tensor, prefix: int) -> Tensor:
    """The first `prefix` tokens of `(B, prefix + N, C)`, then those at `indices` `(B, M)` of the rest."""
    images = torch.arange(len(tokens), device=tokens.device)[:, None]
    return torch.cat([tokens[:, :prefix], tokens[:, prefix:][images, indices]], dim=1)
