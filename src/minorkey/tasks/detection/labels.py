"""The boxes to be found in the images of a batch, on the host and on a device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from minorkey.data.sample import Sample


@dataclass(frozen=True)
class BoxLabels:
    """What is to be found in each of B images: `Batch.labels` of detection. No crowd."""

    boxes: list[Tensor]  # B of (N, 4) float32, x0 y0 x1 y1 in pixels of `pixel_values`
    classes: list[Tensor]  # B of (N,) int64 train ids


@dataclass(frozen=True)
class HostBoxes:
    """The boxes of all images of a batch, one image after the other; crowd boxes are left out."""

    boxes: Tensor  # (N, 4) float32, x0 y0 x1 y1 in pixels of the batch
    classes: Tensor  # (N,) int64 train ids
    counts: list[int]  # (B,) boxes of each image; they sum to N

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> BoxLabels:
        """Boxes and classes of each image on a device."""
        boxes, classes = (tensor.to(device, non_blocking=non_blocking) for tensor in (self.boxes, self.classes))
        return BoxLabels(list(boxes.split(self.counts)), list(classes.split(self.counts)))

    def pin_memory(self) -> Self:
        """A copy in page-locked memory."""
        return type(self)(self.boxes.pin_memory(), self.classes.pin_memory(), self.counts)


def join_boxes(samples: Sequence[Sample]) -> HostBoxes | None:
    """What is to be learnt from the boxes of a batch; None where an image of it is not labelled with boxes."""
    boxes, classes = [], []
    for sample in samples:
        if sample.boxes is None or sample.box_classes is None or sample.crowd is None:
            return None
        boxes.append(torch.from_numpy(sample.boxes[~sample.crowd]))
        classes.append(torch.from_numpy(sample.box_classes[~sample.crowd]))
    return HostBoxes(torch.cat(boxes), torch.cat(classes), [len(each) for each in boxes])
