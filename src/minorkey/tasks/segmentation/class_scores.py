"""Scores of classes: read from a model of either kind, resized, and the likeliest of them."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput

from minorkey.models.heads.segmentation.masks import MASK_MODELS, semantic_scores
from minorkey.tasks.deployed import DeployedNetwork

AT_ONCE = 2**28
"""Scores of pixels and classes that are held at a time where the network saw a smaller image, 1 GB."""


def reader_of(model: nn.Module) -> tuple[Callable[[nn.Module, Tensor], Tensor], bool]:
    """What reads the scores of a model, and whether these are averaged as they are."""
    if isinstance(model, DeployedNetwork):
        return pixel_logits, model.by_masks
    by_masks = isinstance(model, MASK_MODELS)
    return (mask_scores if by_masks else pixel_logits), by_masks


def pixel_logits(model: nn.Module, crops: Tensor) -> Tensor:
    """Logits `(B, K, h, w)` of crops `(B, 3, H, W)`, as large as the model has them."""
    return model(pixel_values=crops).logits.float()


def mask_scores(model: nn.Module, crops: Tensor) -> Tensor:
    """Scores `(B, K, H, W)`, 0 and more, that a model of masks gives crops `(B, 3, H, W)`."""
    return scores_of(model(pixel_values=crops), crops.shape[-2:])


def scores_of(output: ModelOutput, size: torch.Size) -> Tensor:
    """The scores `(B, K, H, W)` in an output of a model of masks."""
    return semantic_scores(output.class_queries_logits.float(), output.masks_queries_logits.float(), size)


def normalised(scores: Tensor) -> Tensor:
    """Scores `(B, K, H, W)` as shares of their sum in each pixel."""
    # No mask at all may claim a pixel of a mask model: it is then of no class, with a probability of 0.
    return scores / scores.sum(dim=1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def likeliest(views: Sequence[Tensor], as_they_are: bool) -> Tensor:
    """The likeliest class `(B, rows, W)` uint8 by scores `(B, K, rows, W)` of an image and perhaps its mirror image."""
    seen = [view.flip(-1) if mirrored else view for mirrored, view in enumerate(views)]
    total = seen[0] if len(seen) == 1 else torch.stack([v if as_they_are else v.softmax(dim=1) for v in seen]).sum(0)
    return total.max(dim=1).indices.to(torch.uint8)  # as argmax, a quarter of its time on a CPU


def resized_bands(views: Sequence[Tensor], size: torch.Size) -> Iterator[list[Tensor]]:
    """Scores `(B, K, h, w)` of each view in the image's size, in one piece or, above `AT_ONCE`, by bands of rows."""
    batch, classes = views[0].shape[:2]
    rows = max(1, AT_ONCE // (batch * classes * size[1]))
    if rows >= size[0]:
        yield [resize_to(view, size) for view in views]
        return
    for top in range(0, size[0], rows):
        yield [_resized_rows(view, size, top, min(top + rows, size[0])) for view in views]


def _resized_rows(maps: Tensor, size: torch.Size, top: int, end: int) -> Tensor:
    """Rows `top` to `end` (exclusive) of `resize_to(maps, size)`: along the rows by torch, between two rows here."""
    height = maps.shape[-2]
    centres = ((torch.arange(top, end, dtype=torch.float64) + 0.5) * height / size[0] - 0.5).clamp(min=0)
    upper = centres.floor().long().clamp(max=height - 1)
    share = (centres - upper).to(maps.dtype).to(maps.device)[:, None]  # not every device has float64
    above, below = upper.to(maps.device), (upper + 1).clamp(max=height - 1).to(maps.device)
    first, last = int(top * height // size[0]), int(-(-end * height // size[0]))
    first, last = max(0, first - 1), min(height, last + 1)
    wide = resize_to(maps[..., first:last, :], torch.Size((last - first, size[1])))
    return wide[..., above - first, :] * (1 - share) + wide[..., below - first, :] * share


def resized(images: Tensor, long_side: int | None, scale: float) -> Tensor:
    """Images with their long side at `long_side` (None: as it is) times `scale`."""
    height, width = images.shape[-2:]
    factor = scale * (long_side / max(height, width) if long_side is not None else 1.0)
    return resize_to(images, torch.Size((max(1, round(height * factor)), max(1, round(width * factor)))))


def resize_to(maps: Tensor, size: torch.Size) -> Tensor:
    """Maps `(B, C, h, w)` at another height and width (bilinear)."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
