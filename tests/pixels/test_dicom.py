"""DICOM by pydicom: modality LUT, window, inverted grey; parity with pydicom's own windows."""

import io
import sys

import numpy as np
import pytest

from minorkey.data.deep_images import read_pixels
from minorkey.data.pixels import PixelOptions
from minorkey.errors import ConfigError, DataError

STORED = np.linspace(0, 4095, 6 * 8).astype(np.uint16).reshape(6, 8)


def written(file, stored=STORED, **elements):
    """A CT slice; elements that are None are left out."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    bits = stored.dtype.itemsize * 8
    frames = stored.ndim == 3 and stored.shape[2] != 3
    values = {
        "Rows": stored.shape[1 if frames else 0], "Columns": stored.shape[2 if frames else 1],
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": 0, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": [40, 500], "WindowWidth": [400, 2000],
    } | elements  # fmt: skip
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = stored.tobytes()
    dataset.save_as(file, enforce_file_format=True)
    return file


def read(file, **stated):
    return read_pixels(file, pixels=PixelOptions(**stated))


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_of_the_file(tmp_path, function):
    """The first of several, as pydicom applies it."""
    file = written(tmp_path / "a.dcm", VOILUTFunction=function)
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_windowing

    dataset = pydicom.dcmread(file)
    expected = apply_windowing(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    low, high = -1024, 65535 - 1024  # what pydicom maps windows to: all that the file could hold
    image = read(file)
    assert image.shape == (6, 8, 3)
    np.testing.assert_allclose(image[..., 0], (expected - low) / (high - low), atol=1e-6)
    assert 0 < (image == 0).mean() < 1 or function == "SIGMOID"


def test_a_stated_range_goes_before_the_window(tmp_path):
    image = read(written(tmp_path / "a.dcm"), channels=1, range=[-1000, 1000])
    np.testing.assert_allclose(image[..., 0], np.clip((STORED.astype(float) - 24) / 2000, 0, 1), atol=1e-6)


def test_inverted_grey(tmp_path):
    plain, inverted = written(tmp_path / "a.dcm"), tmp_path / "b.dcm"
    written(inverted, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(read(inverted), 1 - read(plain))
    np.testing.assert_allclose(read(inverted, range=[0, 99]), 1 - read(plain, range=[0, 99]))
    byte = {"RescaleSlope": None, "RescaleIntercept": None, "PhotometricInterpretation": "MONOCHROME1"}
    image = read(written(tmp_path / "c.dcm", (STORED >> 4).astype(np.uint8), **byte), range=[0, 255])
    np.testing.assert_allclose(image[..., 0], 1 - (STORED >> 4) / 255, atol=1e-6)


def test_colours(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "WindowCenter": None}
    np.testing.assert_array_equal(read(written(tmp_path / "a.dcm", colours, **rgb)), colours)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette(tmp_path, bits):
    indices = np.arange(48, dtype=np.uint8).reshape(6, 8)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    entries = colours.astype(np.uint8) if bits == 8 else colours << 8 | 7
    tables = {}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        tables[f"{name}PaletteColorLookupTableData"] = entries[channel].tobytes()
    file = written(tmp_path / "a.dcm", indices, PhotometricInterpretation="PALETTE COLOR", WindowCenter=None, **tables)
    for stated in ({}, {"range": [0, 255]}):
        np.testing.assert_array_equal(read(file, **stated), colours.T[indices])


def test_what_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.dcm has no window, .* from -1024 to 3071; state their `range: "):
        read(written(tmp_path / "a.dcm", WindowCenter=None))
    with pytest.raises(DataError, match=r"b\.dcm holds 2 frames; save each as a file"):
        read(written(tmp_path / "b.dcm", np.stack([STORED, STORED]), NumberOfFrames=2))
    (tmp_path / "d.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"1.2.840.10008.1.2.1.99")
    with pytest.raises(DataError, match=r"d\.dcm is a deflated DICOM"):
        read(tmp_path / "d.dcm")
    file = written(tmp_path / "c.dcm")
    for content in (b"", b"no DICOM" * 40, file.read_bytes()[:-9], file.read_bytes()[:140]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"c\.dcm: broken DICOM .*; replace or remove the file") as caught:
            read(file)
        assert "\n" not in str(caught.value)


def test_without_pydicom(tmp_path, monkeypatch):
    file = written(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ConfigError, match=r"a\.dcm needs pydicom to be read: pip install 'minorkey\[medical\]'"):
        read_pixels("a.dcm", io.BytesIO(file.read_bytes()).getvalue())
