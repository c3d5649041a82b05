"""What a reader hands out (`Sample`) and what a model is fed (`Batch`)."""

from dataclasses import dataclass

import numpy as np
import torch

IGNORE_INDEX = 255
"""Label of the pixels that count neither in a loss nor in a score."""


@dataclass(frozen=True)
class Sample:
    """One image with what is known of it. Missing annotations are `None`, never dummies."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    domain: str  # name of the domain, e.g. "night" or "camvid"; scores are grouped by it
    key: str  # names the sample within its domain, e.g. the file stem
    labels: np.ndarray | None = None  # (H, W) uint8 train ids; IGNORE_INDEX where unknown
    depth: np.ndarray | None = None  # (H, W) float32 metres; inf in the sky
    boxes: np.ndarray | None = None  # (N, 4) float32, x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    box_classes: np.ndarray | None = None  # (N,) int64, index into the detection classes


@dataclass
class Batch:
    """A batch as the model sees it."""

    pixel_values: torch.Tensor  # (B, 3, H, W) float32, normalised for the backbone
    labels: torch.Tensor  # (B, H, W) int64 train ids; IGNORE_INDEX where unknown
    domains: list[str]  # (B,)
    keys: list[str]  # (B,)

    def to(self, device: torch.device | str) -> "Batch":
        """Copy to `device` without blocking the host where the memory is pinned."""
        return Batch(
            pixel_values=self.pixel_values.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            domains=self.domains,
            keys=self.keys,
        )
