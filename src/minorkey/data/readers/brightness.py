"""Domains by brightness: the images of a data set whose mean luma lies in a range."""

from minorkey.data.images import mean_luma
from minorkey.data.readers.boxes import BoxReader
from minorkey.data.readers.joined import Subset
from minorkey.data.readers.paired import PairedReader
from minorkey.errors import DataError

Range = tuple[float, float]
"""From the first number and below the second, of 0 to 256."""


def of_brightness(reader: BoxReader | PairedReader, luma: Range) -> Subset:
    """The images of a mean luma in a range (`images.mean_luma`); each image is decoded for that, labels are not read.

    Raises:
        DataError: there is no such image, or one is broken.
    """
    low, high = luma
    found = [mean_luma(*reader.file(index)) for index in range(len(reader))]
    chosen = [index for index, value in enumerate(found) if low <= value < high]
    if not chosen:
        raise DataError(
            f"{reader.name} is empty: no image has a mean luma of {low:g} to {high:g}, theirs are "
            f"{min(found):.1f} to {max(found):.1f}; change `brightness` of the data set, or leave the domain out"
        )
    return Subset(reader, chosen)
