"""The training recipe of domain generalised segmentation: random scale, crop and flip; the colours come later.

Source: the augmentation of SoMA (arXiv 2412.04077). All functions are pure: what is random comes from the
generator that is passed in. The photometric distortion is part of the recipe and its options are here, but
it is applied to whole batches on their device (`photometric.distort`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from minorkey.catalog import Catalog
from minorkey.data.photometric import PhotometricConfig, ascending
from minorkey.data.sample import Sample, normalise
from minorkey.errors import OutsideError
from minorkey.system.bounds import Scale, Side
from minorkey.system.outside import outside_faults

CROP_TRIES = 10

OwnTransform = Callable[[Sample, np.random.Generator], Sample]

OWN_TRANSFORMS: Catalog[OwnTransform] = Catalog(
    "transform", {}, "a function of a Sample and a Generator that gives a Sample", callable
)


def _switch(value: object) -> object:
    """`true` stands for the default ranges, `false` for none."""
    return {True: PhotometricConfig(), False: None}[value] if isinstance(value, bool) else value


Jitter = Annotated[tuple[Scale, Scale], AfterValidator(ascending)]


class TransformConfig(BaseModel):
    """The training recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: tuple[Side, Side] = (512, 512)  # height, width
    scale_ratios: tuple[Scale, ...] = Field(
        default=tuple(step / 10 for step in range(5, 21)), min_length=1
    )  # short side of the image over short side of the crop, one is drawn
    scale_jitter: Jitter | None = None  # detection: image over the size that just fits the crop; None: scale_ratios
    max_long_side: Side | None = None  # of the scaled image, pixels; the scale is lowered to keep to it
    max_class_share: float = Field(default=0.75, gt=0, le=1)  # no class covers more of a crop
    crop_area: Jitter = (0.7, 1.0)  # classification: a crop shows such a share of the image, drawn evenly
    grey: float = Field(default=0.0, ge=0, le=1)  # classification: probability that colours are taken out
    flip: float = Field(default=0.5, ge=0, le=1)  # probability
    # Functions of anyone's own, package.module:attribute, that crops go through one after the other, before the colours
    own: tuple[Annotated[str, AfterValidator(OWN_TRANSFORMS.admitted)], ...] = ()
    photometric: Annotated[PhotometricConfig | None, BeforeValidator(_switch)] = PhotometricConfig()

    def refuse(self, names: Iterable[str]) -> None:
        """Raise `ValueError` for a setting of these, which a task has no use for, unless it is as it is by default."""
        for name in names:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"transform.{name} is for another task; leave it out")


def transform_own(sample: Sample, config: TransformConfig, rng: np.random.Generator) -> Sample:
    """A crop after the transforms of one's own, in their order.

    Raises:
        OutsideError: one of them fails, or gives no sample that fits into the crop.
    """
    for name in config.own:
        with outside_faults():
            given_image, sample = sample.image, OWN_TRANSFORMS.resolve(name)(sample, rng)
        image = getattr(sample, "image", None)
        if image is None or not _alike(image, given_image) or not _within(image, config.crop):
            expected = f"(H, W, {given_image.shape[2]}) {given_image.dtype}"
            given = type(sample).__name__ if image is None else f"image {image.shape} {image.dtype}"
            raise OutsideError(f"transform '{name}' gives a {given}; expected a Sample of {expected}, as a crop")
    return sample


def _alike(image: np.ndarray, other: np.ndarray) -> bool:
    return image.dtype == other.dtype and image.shape[2:] == other.shape[2:]


def _within(image: np.ndarray, size: tuple[int, int]) -> bool:
    return image.shape[0] <= size[0] and image.shape[1] <= size[1]


@dataclass(frozen=True)
class Window:
    """A crop of the scaled image, with the part of the original image that it shows."""

    size: tuple[int, int]  # width, height after scaling
    box: tuple[float, float, float, float]  # x0 y0 x1 y1 in pixels of the original image


def scaled_size(size: tuple[int, int], short: float, max_long: int | None) -> tuple[int, int]:
    """Height and width of an image whose short side is resized to `short`, or to less where the long one is limited.

    The ratio of the sides is kept: both are multiplied by min(short / min(size), max_long / max(size)).
    """
    scale = short / min(size)
    if max_long is not None:
        scale = min(scale, max_long / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def resize_window(image: np.ndarray, window: Window) -> np.ndarray:
    """The part of an image (H, W, C) that `window` shows, in its size, filtered with a triangle as wide as a pixel.

    Channels that are no 8-bit RGB are filtered one by one, in their own precision.
    """
    (width, height), (x0, y0, x1, y1) = window.size, window.box
    left, right = _reach(x0, x1, width, image.shape[1])
    top, bottom = _reach(y0, y1, height, image.shape[0])
    part = image[top:bottom, left:right]
    box = (x0 - left, y0 - top, x1 - left, y1 - top)
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return _resized(part, window.size, box)
    channels = [_resized(part[..., channel], window.size, box) for channel in range(image.shape[2])]
    return np.stack(channels, axis=2)


def _resized(part: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BILINEAR, box))


def to_tensor(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """An image (H, W, C) as a tensor (C, H, W) float32: bytes scaled to [0, 1], less `mean`, over `std`."""
    channels = torch.from_numpy(np.array(image.transpose(2, 0, 1), np.float32, order="C"))
    return normalise(channels.div_(255) if image.dtype == np.uint8 else channels, mean, std)


def brought_to(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (B, C, H, W) as tensors in another (height, width), filtered as `resize_window` does."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def random_window(
    original: tuple[int, int], scaled: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator
) -> Window:
    """A window of at most `crop`, anywhere in an image of size `original` scaled to `scaled`, all (height, width)."""
    height, width = (min(pair) for pair in zip(scaled, crop, strict=True))
    top, left = int(rng.integers(scaled[0] - height + 1)), int(rng.integers(scaled[1] - width + 1))
    y, x = original[0] / scaled[0], original[1] / scaled[1]
    box = (left * x, top * y, min((left + width) * x, original[1]), min((top + height) * y, original[0]))
    return Window((width, height), box)


def _reach(start: float, stop: float, size: int, limit: int) -> tuple[int, int]:
    """First and last (exclusive) of the pixels that the filter needs to resize start ... stop to `size`."""
    margin = max(1.0, (stop - start) / size) + 1
    return max(0, int(start - margin)), min(limit, int(stop + margin) + 1)
