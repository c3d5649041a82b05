"""What a reader hands out (`Sample`), and batches of them on their way to a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import torch

from minorkey.data.photometric import distort
from minorkey.data.pixels import picture


@dataclass(frozen=True)
class Sample:
    """One image with what is known of it. Missing annotations are `None`, never dummies."""

    image: np.ndarray  # (H, W, 3) uint8, RGB; of other data (data/pixels.py) (H, W, C) uint8, or float32 in [0, 1]
    domain: str  # name of the domain, e.g. "night" or "camvid"; scores are grouped by it
    key: str  # names the sample within its domain, e.g. the file stem
    labels: np.ndarray | None = None  # (H, W) uint8 train ids; IGNORE_INDEX where unknown
    depth: np.ndarray | None = None  # (H, W) float32 metres; inf in the sky
    boxes: np.ndarray | None = None  # (N, 4) float32, x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    box_classes: np.ndarray | None = None  # (N,) int64 train ids
    crowd: np.ndarray | None = None  # (N,) bool, a region that is not told apart or too hard: not trained, not judged
    cut: int = 0  # boxes that reached over the edge of the image and were clipped to it while reading
    category: int | None = None  # train id of the class that the image as a whole shows
    shown: tuple[int, int, int] = (0, 1, 2)  # channels of the image that `picture` shows as red, green and blue

    @property
    def picture(self) -> np.ndarray:
        """The image as it is looked at, `(H, W, 3)` uint8; 8-bit RGB as it is."""
        return picture(self.image, self.shown)


class HostLabels(Protocol):
    """Labels of a batch as a loader hands them out: a tensor of the host, or what holds several."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Any:
        """What `Batch.labels` is, on a device."""

    def pin_memory(self) -> Self:
        """A copy in page-locked memory."""


@dataclass(frozen=True)
class Batch:
    """A batch as the model sees it. What becomes of it later is another one (`dataclasses.replace`)."""

    pixel_values: torch.Tensor  # (B, C, H, W) float32, of RGB C = 3, normalised for the backbone
    labels: Any  # as the task's `collate` gives them, e.g. (B, H, W) int64 train ids; None: unlabelled
    domains: list[str]  # (B,)
    keys: list[str]  # (B,)
    clean: torch.Tensor | None = None  # (B, C, H, W) float32, `pixel_values` with the colours as they were taken
    filled: torch.Tensor | None = None  # (B, H, W) bool, false where a crop is larger than its image; with `clean`
    share: float = 1.0  # of this batch in the step's losses, over all its batches and processes
    shares: Mapping[str, float] = field(default_factory=dict)  # of single terms of the loss that count otherwise
    problems: Sequence[str] = ()  # what could not be read and was replaced, a line each


@dataclass(frozen=True)
class Pair:
    """A batch of the source and one of the target, whose labels are IGNORE_INDEX unless it has pseudo-labels."""

    source: Batch
    target: Batch


@dataclass(frozen=True)
class RawBatch:
    """A batch as the loader hands it out: bytes, of which a device is sent a quarter as many."""

    images: torch.Tensor  # (B, H, W, C) uint8, or float32 in [0, 1]; 0 outside of `sizes`
    labels: HostLabels | None  # as the task's `collate` gives them; None: unlabelled
    sizes: torch.Tensor  # (B, 2) int64, height and width that the image fills, from the top left
    distortions: torch.Tensor | None  # (B, 5) float32, a `photometric.Distortion` per row
    mean: tuple[float, ...]  # of the normalisation, per channel, in [0, 1]
    std: tuple[float, ...]
    domains: list[str]  # (B,)
    keys: list[str]  # (B,)
    problems: Sequence[str] = ()  # what could not be read and was replaced, a line each

    def to(self, device: torch.device | str, *, keep_clean: bool = False) -> Batch:
        """Move to `device`; distort and normalise there. What no image fills is 0, the mean of the data.

        The host is not blocked where the memory is pinned.

        Args:
            device: where the batch goes.
            keep_clean: whether `Batch.clean` holds the images without distortion too.
        """
        images = in_unit(self.images.to(device, non_blocking=True).permute(0, 3, 1, 2))
        filled = _filled(self.sizes.to(device, non_blocking=True), images.shape[-2:])
        clean = normalise(images, self.mean, self.std) * filled if keep_clean else None
        if self.distortions is not None:
            images = distort(images, self.distortions.to(device, non_blocking=True))
        return Batch(
            pixel_values=normalise(images, self.mean, self.std) * filled,
            labels=on_device(self.labels, device),
            domains=self.domains,
            keys=self.keys,
            clean=clean,
            filled=filled[:, 0] if keep_clean else None,
            problems=self.problems,
        )

    def pin_memory(self) -> "RawBatch":
        """A copy in page-locked memory, which a GPU reads while the host goes on; called by the loader."""
        distortions = None if self.distortions is None else self.distortions.pin_memory()
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=None if self.labels is None else self.labels.pin_memory(),
            sizes=self.sizes.pin_memory(),
            distortions=distortions,
        )


@dataclass(frozen=True)
class RawPair:
    """A `Pair` as the loader hands it out."""

    source: RawBatch
    target: RawBatch

    def to(self, device: torch.device | str) -> Pair:
        """Both batches on `device`, each with `clean` images."""
        return Pair(self.source.to(device, keep_clean=True), self.target.to(device, keep_clean=True))


def on_device(labels: HostLabels | None, device: torch.device | str) -> Any:
    """`Batch.labels` of what a task's `collate` gave; ids are sent as bytes where they are bytes, and become int64."""
    moved = None if labels is None else labels.to(device, non_blocking=True)
    return moved.long() if isinstance(moved, torch.Tensor) and moved.dtype == torch.uint8 else moved


def in_unit(images: torch.Tensor) -> torch.Tensor:
    """Images as float32 in [0, 1]: bytes over 255, others as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def normalise(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Images `(..., C, H, W)` in [0, 1], less `mean`, over `std`, both per channel."""
    # By numbers: tensors made of them would have the host wait for the device.
    channels = zip(images.unbind(-3), mean, std, strict=True)
    return torch.stack([(channel - shift) / scale for channel, shift, scale in channels], -3)


def denormalise(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Inverse of `normalise`."""
    channels = zip(images.unbind(-3), mean, std, strict=True)
    return torch.stack([channel * scale + shift for channel, shift, scale in channels], -3)


def _filled(sizes: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`(B, 1, H, W)`, true in the top left `sizes` (B, 2) of images of `shape` (H, W)."""
    rows, columns = (torch.arange(length, device=sizes.device) for length in shape)
    return ((rows[:, None] < sizes[:, 0, None, None]) & (columns < sizes[:, 1, None, None]))[:, None]
