"""What the numbers of an image mean where it is not 8-bit RGB: its channels, and the range that their values have.

Images of a stated range are float32 in [0, 1] from the file to the network; 8 bits stay bytes.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from minorkey.errors import ConfigError, DataError
from minorkey.system.faults import own_options

RGB = ("red", "green", "blue")
GREY = ("grey",)
MOST_CHANNELS = 512
"""Of an image; hyperspectral cameras have about 200."""

WHITE = 255
"""The largest value of 8 bits."""


def _named(value: Any) -> Any:
    """Names for a number of channels: one is grey, of several the first three are red, green and blue."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if not 1 <= value <= MOST_CHANNELS:
        raise ValueError(f"{value} channels; expected 1 to {MOST_CHANNELS}, or a list of their names")
    return GREY if value == 1 else tuple(RGB[:value]) + tuple(f"channel {i + 1}" for i in range(3, value))


def _pairs(value: Any) -> Any:
    """`[0, 4095]` as the range of all channels."""
    numbers = isinstance(value, (list, tuple)) and all(isinstance(each, (int, float)) for each in value)
    return [value] if numbers and value else value


Channels = Annotated[tuple[str, ...], BeforeValidator(_named)]
Ranges = Annotated[tuple[tuple[float, float], ...], BeforeValidator(_pairs)]


class PixelOptions(BaseModel):
    """Channels and range of images.

    >>> PixelOptions(channels=4, range=[0, 4095]).channels
    ('red', 'green', 'blue', 'channel 4')
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    channels: Channels | None = None  # names, or how many; None: red, green, blue, or grey that stands for these
    range: Ranges | None = None  # values for 0 and for 1, of all channels or of each; None: 0 to 255, of 8 bits alone
    shown: tuple[str, str, str] | None = None  # channels that pictures show as red, green and blue

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = self.names
        if not 1 <= len(names) <= MOST_CHANNELS or len(set(names)) < len(names) or not all(map(str.strip, names)):
            raise ValueError(f"channels are {', '.join(names)}; expected up to {MOST_CHANNELS} names, each once")
        if self.range is not None and len(self.range) not in (1, len(names)):
            raise ValueError(f"range has {len(self.range)} pairs for {len(names)} channels; give one, or one for each")
        for low, high in self.range or ():
            if not low < high:
                raise ValueError(f"range is [{low:g}, {high:g}]; expected [low, high], low < high")
        for name in self.shown or ():
            if name not in names:
                raise ValueError(f"shown names '{name}', which is no channel; they are {', '.join(names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The channels by name."""
        return RGB if self.channels is None else self.channels

    @property
    def stated(self) -> bool:
        """Whether anything is said of the values."""
        return self.channels is not None or self.range is not None

    def __str__(self) -> str:
        """`channels red, green, blue, range 0 to 4095`."""
        values = ", ".join(f"{low:g} to {high:g}" for low, high in dict.fromkeys(self.range or ()))
        return f"channels {', '.join(self.names)}" + (f", range {values}" if values else "")

    @property
    def places(self) -> tuple[int, int, int]:
        """The channels that pictures show as red, green and blue: as said, or of these names, or the first three."""
        chosen = self.shown or (RGB if set(RGB) <= set(self.names) else self.names[:3])
        first, *others = [self.names.index(name) for name in chosen]
        second, third = (others + [others[-1] if others else first] * 2)[:2]
        return first, second, third

    def completed(self, by: "PixelOptions | None") -> "PixelOptions":
        """This, and what another says where this says nothing.

        Raises:
            ConfigError: it names other channels, or both together say what cannot be.
        """
        if by is None:
            return self
        if self.channels is not None and by.channels is not None and self.channels != by.channels:
            raise ConfigError(
                f"channels are {', '.join(by.channels)}, but elsewhere in the run {', '.join(self.channels)}; all "
                "images of a run have the same channels, in one order"
            )
        whole = {name: getattr(self, name) or getattr(by, name) for name in type(self).model_fields}
        return own_options("pixels", PixelOptions, whole)

    def image(self, values: np.ndarray, file: object) -> np.ndarray:
        """Values as they lie in a file, `(H, W)` or `(H, W, C)`, as an image; `file` is named in errors.

        Returns:
            `(H, W, C)` float32 in [0, 1], what is outside of the range clipped to it; uint8 where these are 8 bits and
            the range does not fit in them. Grey is repeated where no channels are named.

        Raises:
            DataError: it has other channels, or values that no range is stated for.
        """
        values = values[..., None] if values.ndim == 2 else values
        if values.ndim != 3 or not values.size or values.dtype.kind not in "uif":
            raise DataError(f"{file}: values {values.shape} of type {values.dtype}; expected (H, W, C) of numbers")
        found, expected = values.shape[2], len(self.names)
        if found != expected and not (found == 1 and self.channels is None):
            say = f"expected {expected} ({_some(self.names)})"
            raise DataError(f"{file}: image has {found} channels, {say}; say `channels: {found}`, or their names")
        scaled = self._scaled(values, file)
        return scaled if scaled.shape[2] == expected else np.repeat(scaled, expected, axis=2)

    def _scaled(self, values: np.ndarray, file: object) -> np.ndarray:
        highest = max((high for _, high in self.range), default=WHITE) if self.range else WHITE
        if values.dtype == np.uint8 and (self.range in (None, ((0, WHITE),)) or highest > WHITE):
            return values
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"{file}: image has values that are not finite; write a number in their place")
        if self.range is None:
            raise DataError(
                f"{file}: image has values from {values.min():g} to {values.max():g} of type {values.dtype}, and "
                "nothing says which of them is white; state their `range: [low, high]`, e.g. `range: [0, 4095]` of 12 "
                "bits, in dataset.yaml, or for all images as pixels.range"
            )
        low, high = np.array(self.range, np.float64 if values.dtype.itemsize > 2 else np.float32).T
        return np.clip((values - low) / (high - low), 0, 1).astype(np.float32, copy=False)


DEFAULT = PixelOptions()


def picture(image: np.ndarray, places: tuple[int, int, int] = (0, 1, 2)) -> np.ndarray:
    """What is looked at of an image `(H, W, C)`: `(H, W, 3)` uint8; 8-bit RGB as it is.

    Args:
        image: uint8, or float32 in [0, 1].
        places: channels that stand for red, green and blue; the last one for those that are not there.
    """
    last = image.shape[2] - 1
    chosen = image if last == 2 and places == (0, 1, 2) else image[..., [min(place, last) for place in places]]
    return chosen if chosen.dtype == np.uint8 else np.rint(chosen * WHITE).astype(np.uint8)


def of_one_kind(images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Images as bytes where all are, else all as float32 in [0, 1]."""
    if all(image.dtype == np.uint8 for image in images):
        return images
    return [image / np.float32(WHITE) if image.dtype == np.uint8 else image for image in images]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
