"""What a few images of a data set look like, as far as a user should know: grey ones, and ones that come out dark."""

from collections.abc import Iterator
from contextlib import suppress

from minorkey.data.deep_images import highest_of_16_bits
from minorkey.data.images import is_grey
from minorkey.data.pixels import PixelOptions
from minorkey.data.readers.images import ImageReader
from minorkey.data.readers.joined import on_disk
from minorkey.data.readers.reader import Reader
from minorkey.data.records import PROBES, evenly_spread
from minorkey.errors import MinorkeyError

QUARTER = 1 << 14
"""Of the range of 16 bits."""

Probe = tuple[PixelOptions, str, bytes]
"""What is stated of the values of an image, its file as errors name it, and the content."""


def looks(reader: Reader) -> list[str]:
    """Lines on a few images, evenly spread; none of what is no files on disk, or where an image cannot be read.

    Args:
        reader: a data set.
    """
    with suppress(MinorkeyError):  # it is said when it is needed
        return [line for line in (_grey(reader), dark(reader)) if line is not None]
    return []


def dark(reader: Reader) -> str | None:
    """A line where all of them have 16 bits of which the upper two are never used, and no range is stated.

    One dark image may be a dark scene; that not one of several has a value above a quarter of the range is what a
    camera of 14 bits or fewer looks like.
    """
    highest = []
    for pixels, file, content in _probes(reader):
        most = highest_of_16_bits(file, content) if pixels.range is None else None
        if most is None or most >= QUARTER:
            return None
        highest.append(most)
    if not highest:
        return None
    most = max(highest)
    return (
        f"all {len(highest)} images looked at have 16 bits and no value above {most} of 65535: they come out dark; if "
        f"that is all that the camera gives, state `range: [0, {2 ** most.bit_length() - 1}]`"
    )


def _grey(reader: Reader) -> str | None:
    """A line where all of them are grey, and nothing says whether the network is to have one channel."""
    found = False
    for pixels, file, content in _probes(reader):
        if pixels.channels is not None or not is_grey(file, content):
            return None
        found = True
    if not found:
        return None
    return "images are grey, and repeated over red, green and blue; `channels: 1` has the network take one"


def _probes(reader: Reader) -> Iterator[Probe]:
    for index in evenly_spread(len(reader), PROBES):
        source = (reader, index) if isinstance(reader, ImageReader) else on_disk(reader, index)
        if source is None:
            return
        yield source[0].pixels, *source[0].file(source[1])
