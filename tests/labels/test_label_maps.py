import numpy as np
import pytest

from minorkey.errors import DataError
from minorkey.labels import apply_id_map, ids_from_colours, label_space

LOOKUP = label_space("street7").id_map({3: "road", 4: "sky", 255: "ignore"})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_ids_become_train_ids(dtype):
    raw = np.array([[3, 4, 255], [4, 4, 3]], dtype)
    mapped = apply_id_map(raw, LOOKUP, "a.png")
    assert mapped.dtype == np.uint8
    assert mapped.tolist() == [[0, 4, 255], [4, 4, 0]]


def test_unnamed_ids_are_counted():
    raw = np.array([[3, 9, 9], [7, 9, 3]], np.uint8)
    with pytest.raises(DataError, match=r"^a\.png: no map names id 9 \(3 pixels\), id 7 \(1 pixels\); add it"):
        apply_id_map(raw, LOOKUP, "a.png")


@pytest.mark.parametrize("wild", [1000, 259, -1])
def test_ids_beyond_a_byte_are_not_wrapped(wild):
    raw = np.array([[3, wild]], np.int32)
    with pytest.raises(DataError, match=rf"id {wild} \(1 pixels\)"):
        apply_id_map(raw, LOOKUP, "a.png")


def test_many_unnamed_ids_stay_one_line():
    with pytest.raises(DataError, match=r"id 10 \(1 pixels\), id 11 \(1 pixels\), id 12 \(1 pixels\) and 17 more"):
        apply_id_map(np.arange(10, 30, dtype=np.uint8)[None], LOOKUP, "a.png")


def test_colours_become_ids():
    colours = np.array([[128, 64, 128], [0, 0, 0], [0, 0, 142]], np.uint8)
    ids = np.random.default_rng(0).integers(0, 3, (5, 7))
    assert ids_from_colours(colours[ids], colours, "a.png").tolist() == ids.tolist()


def test_unnamed_colours_are_counted():
    rgb = np.array([[[1, 2, 3], [1, 2, 3], [255, 255, 255], [0, 0, 0]]], np.uint8)
    with pytest.raises(DataError, match=r"colour #010203 \(2 pixels\), colour #ffffff \(1 pixels\)"):
        ids_from_colours(rgb, np.zeros((1, 3), np.uint8), "a.png")


def test_a_byte_is_mapped_as_wider_ids_are():
    names = label_space("cityscapes19").classes
    full = np.arange(256, dtype=np.int16)  # every id has a name, and every value is one
    for lookup in (LOOKUP, full, np.where(full == 9, -1, full), label_space("cityscapes19").id_map({7: names[0]})):
        named = np.flatnonzero(lookup >= 0).astype(np.uint8)
        raw = np.random.default_rng(0).choice(named, (5, 8))
        mapped = apply_id_map(raw, lookup, "a.png")
        assert np.array_equal(mapped, apply_id_map(raw.astype(np.uint16), lookup, "a.png"))
        mapped[0, 0] = 0  # it may be written to
        for nameless in np.flatnonzero(lookup < 0).astype(np.uint8):
            raw[2, 3] = nameless
            with pytest.raises(DataError, match=rf"id {nameless} \(1 pixels\)"):
                apply_id_map(raw, lookup, "a.png")
