"""ClassMix (arXiv 2007.07936): classes cut out of a source image and put on a target image, as in DACS and DAFormer."""

import torch
from torch import Tensor

from minorkey.labels import IGNORE_INDEX


def class_mask(labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Pixels of half of the classes, rounded up, that are present in each label map, drawn at random.

    Pixels of `IGNORE_INDEX` are never taken, nor does it count as a class. The host does not wait for the device.

    Args:
        labels: `(B, H, W)` int64, in 0 ... `IGNORE_INDEX`.
        generator: on the device of `labels`; None: the device's own.

    Returns:
        `(B, H, W)` bool, true where the source is to be taken.

    >>> class_mask(torch.tensor([[[3, 3, 255]]])).tolist()  # half of one class, rounded up
    [[[True, True, False]]]
    """
    flat = labels.flatten(1)
    present = torch.zeros(len(flat), IGNORE_INDEX + 1, dtype=torch.bool, device=labels.device)
    present = present.scatter(1, flat, True)
    present[:, IGNORE_INDEX] = False
    lots = torch.rand(present.shape, generator=generator, device=labels.device)
    rank = lots.where(present, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
    chosen = rank < (present.sum(dim=1, keepdim=True) + 1) // 2
    return chosen.gather(1, flat).view_as(labels)


def mix(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """`source` where `mask` `(B, H, W)` is true, else `target`; images `(B, 3, H, W)`, or maps `(B, H, W)`.

    >>> mix(torch.tensor([[[True, False]]]), torch.tensor([[[1, 2]]]), torch.tensor([[[7, 8]]])).tolist()
    [[[1, 8]]]
    """
    return torch.where(mask[:, None] if source.ndim == 4 else mask, source, target)
