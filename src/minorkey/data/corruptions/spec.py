"""The table of corruptions: a row each, a pure function behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from minorkey.catalog import Catalog
from minorkey.data.corruptions.blur import defocus_blur, motion_blur, zoom_blur
from minorkey.data.corruptions.digital import brightness, contrast, jpeg, pixelate
from minorkey.data.corruptions.light import glare, night
from minorkey.data.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from minorkey.data.corruptions.weather import fog, rain, snow

SEVERITIES = (1, 2, 3, 4, 5)

IMAGENET_C = "ImageNet-C"  # Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261
OWN = "own"

Corrupt = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""`(image (H, W, 3) uint8, severity 1 to 5, rng) -> (H, W, 3) uint8`; the image passed in is left alone."""


@dataclass(frozen=True)
class CorruptionSpec:
    """One kind of corruption."""

    name: str
    title: str
    group: Literal["noise", "blur", "weather", "light", "digital"]
    effect: str  # what it does, in a few words
    source: str  # where its definition and parameters are from
    apply: Corrupt


_ROWS = (
    CorruptionSpec("gaussian_noise", "Gaussian noise", "noise", "noise of a fixed size", IMAGENET_C, gaussian_noise),
    CorruptionSpec("shot_noise", "shot noise", "noise", "few photons", IMAGENET_C, shot_noise),
    CorruptionSpec("impulse_noise", "impulse noise", "noise", "values stuck at 0 or 255", IMAGENET_C, impulse_noise),
    CorruptionSpec("defocus_blur", "defocus blur", "blur", "a lens out of focus", IMAGENET_C, defocus_blur),
    CorruptionSpec("motion_blur", "motion blur", "blur", "a moving camera", IMAGENET_C, motion_blur),
    CorruptionSpec("zoom_blur", "zoom blur", "blur", "a camera moving forward", IMAGENET_C, zoom_blur),
    CorruptionSpec("fog", "fog", "weather", "a cloudy white layer", IMAGENET_C, fog),
    CorruptionSpec("snow", "snow", "weather", "falling flakes, a whitened scene", IMAGENET_C, snow),
    CorruptionSpec("rain", "rain", "weather", "streaks, a grey veil, less light", OWN, rain),
    CorruptionSpec("night", "night", "light", "dim light with lamps left on, sensor noise", OWN, night),
    CorruptionSpec("glare", "glare", "light", "a low sun with bloom and veil", OWN, glare),
    CorruptionSpec("brightness", "brightness", "digital", "overexposure", IMAGENET_C, brightness),
    CorruptionSpec("contrast", "contrast", "digital", "low contrast", IMAGENET_C, contrast),
    CorruptionSpec("jpeg", "JPEG", "digital", "strong compression", IMAGENET_C, jpeg),
    CorruptionSpec("pixelate", "pixelation", "digital", "few, large pixels", IMAGENET_C, pixelate),
)

CORRUPTIONS: dict[str, CorruptionSpec] = {row.name: row for row in _ROWS}
"""All corruptions by name."""

CATALOG: Catalog[CorruptionSpec] = Catalog(
    "corruption", CORRUPTIONS, "a CorruptionSpec", lambda part: isinstance(part, CorruptionSpec)
)


def corruption_title(name: str) -> str:
    """What tables and pictures call a corruption; one from outside is not imported for it."""
    return CORRUPTIONS[name].title if name in CORRUPTIONS else name.rpartition(":")[2]
