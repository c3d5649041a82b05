"""Arrays of `numpy.save`, whose header is looked at before memory is taken, and which hold numbers alone."""

import io
from math import prod

import numpy as np
from numpy.lib import format as npy

from minorkey.errors import DataError
from minorkey.system.reading import FAULTS, words

READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(content: bytes, file: object) -> np.ndarray:
    """The array in a `.npy` file, which may not be written to; `file` is named in errors.

    Raises:
        DataError: it is none, is cut off, or holds Python objects.
    """
    stream = io.BytesIO(content)
    try:
        shape, by_columns, dtype = READERS[npy.read_magic(stream)](stream)
    except (*FAULTS, SyntaxError) as error:
        raise DataError(f"{file} is no array of numpy.save ({words(error)}); save it anew") from error
    start = stream.tell()
    if dtype.hasobject or dtype.kind not in "uifb" or prod(shape) * dtype.itemsize != len(content) - start:
        raise DataError(
            f"{file}: an array {shape} of {dtype} in {len(content) - start} bytes; expected whole numbers or floating "
            "point ones, all of them: save it anew"
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    return values.view(np.uint8) if dtype.kind == "b" else values
