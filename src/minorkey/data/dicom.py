"""DICOM images as their own window shows them, by pydicom: `pip install 'minorkey[medical]'`."""

import io
from typing import Any

import numpy as np

from minorkey.data.pixels import PixelOptions
from minorkey.errors import ConfigError, DataError
from minorkey.system.reading import FAULTS, words

ZERO_TO_ONE = ((0.0, 1.0),)

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Transfer syntax (PS3.5 A.5) of a file that is compressed as a whole."""


def read_dicom(content: bytes, file: object, pixels: PixelOptions) -> np.ndarray:
    """The one image of a DICOM file; `file` is named in errors.

    Grey values go through the modality LUT (of CT: to Hounsfield units), then through the stated range or, without
    one, the first window or VOI LUT of the file. MONOCHROME1 is inverted, so that white is the largest value.

    Args:
        content: of the file.
        file: its name.
        pixels: channels and range that the data set states.

    Returns:
        `(H, W, C)` float32 in [0, 1], of colours uint8; grey is repeated where no channels are named.

    Raises:
        DataError: it is broken, holds several frames, or has neither a window nor a stated range.
        ConfigError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ConfigError(f"{file} needs pydicom to be read: pip install 'minorkey[medical]'") from error
    if DEFLATED in content[:1024]:  # it could unpack to a thousand times its size
        raise DataError(f"{file} is a deflated DICOM; save it without that compression")
    try:
        dataset: Any = pydicom.dcmread(io.BytesIO(content))
        stored = dataset.pixel_array
        if int(dataset.get("NumberOfFrames", None) or 1) > 1:
            raise DataError(f"{file} holds {dataset.NumberOfFrames} frames; save each as a file")
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            stored = _painted(stored, dataset)
        if stored.ndim == 3:
            return pixels.image(stored, file)
        values = pydicom.pixels.apply_modality_lut(stored, dataset)
        shown = _shown(values, dataset, file) if pixels.range is None else values.astype(np.float64)
    except (*FAULTS, pydicom.errors.InvalidDicomError) as error:
        raise DataError(f"{file}: broken DICOM ({words(error)}); replace or remove the file") from error
    options = pixels if pixels.range is not None else pixels.model_copy(update={"range": ZERO_TO_ONE})
    image = options.image(shown, file)
    return 1 - image if dataset.PhotometricInterpretation == "MONOCHROME1" else image


def _shown(values: np.ndarray, dataset: Any, file: object) -> np.ndarray:
    """Values from 0 to 1 by the window of a file, as PS3.3 C.11.2 of the standard has it."""
    from pydicom.pixels import apply_voi

    if "WindowCenter" not in dataset and "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(values, dataset) / (2**bits - 1)
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is None or width is None:
        raise DataError(
            f"{file} has no window, and its values are from {values.min():g} to {values.max():g}; state their "
            "`range: [low, high]` in dataset.yaml, or for all images as pixels.range"
        )
    function = dataset.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return (values > centre - 0.5).astype(np.float32)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _painted(indices: np.ndarray, dataset: Any) -> np.ndarray:
    """The colours that a file names for its values: `(H, W, 3)` uint8, of 16 bits the upper ones."""
    from pydicom.pixels import apply_color_lut

    colours = apply_color_lut(indices, dataset)[..., :3]
    return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)


def _first(value: Any) -> float | None:
    """The first of several windows."""
    return None if value is None else float(value if isinstance(value, (int, float, str)) else value[0])
