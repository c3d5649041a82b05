"""Mean and standard deviation of each channel over some images of a data set."""

from collections.abc import Sequence

import numpy as np

from minorkey.data.readers.reader import Reader
from minorkey.data.records import evenly_spread
from minorkey.errors import DataError

LOOKED_AT = 64
"""Images of all data sets together: a million pixels and more, of which the mean is known to a thousandth."""


def channel_statistics(readers: Sequence[Reader], names: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1], every image counting alike.

    Args:
        readers: data sets; evenly spread images of each are read.
        names: of the channels.

    Raises:
        DataError: an image is broken or has other channels, or a channel is the same everywhere.
    """
    moments = []
    for reader in readers:
        for index in evenly_spread(len(reader), max(1, LOOKED_AT // len(readers))):
            image = reader[index].image
            if image.shape[2] != len(names):
                raise DataError(f"{reader.name}: '{reader.key(index)}' has {image.shape[2]} of {len(names)} channels")
            values = image.reshape(-1, len(names)).astype(np.float64) / (255 if image.dtype == np.uint8 else 1)
            moments.append((values.mean(axis=0), np.square(values).mean(axis=0)))
    mean, square = np.mean(moments, axis=0)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    if flat := [name for name, value in zip(names, spread, strict=True) if value < 1e-6]:
        raise DataError(
            f"channel '{flat[0]}' is the same in all images of {readers[0].name} that were looked at; leave it out, or "
            "correct its `range`"
        )
    return tuple(mean.round(6).tolist()), tuple(spread.round(6).tolist())
