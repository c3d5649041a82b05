"""Shapes become pixels and boxes: against the masks of pycocotools, and by rule where they cover one another."""

import json
from pathlib import Path

import exported
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from minorkey.data.readers import open_datasets
from minorkey.data.readers.shapes.rle import coco_mask
from minorkey.data.readers.shapes.shape import Mask, Shape, drawn, ellipse, extent, outline_of, paint, rectangle, turned
from minorkey.errors import DataError
from minorkey.labels import label_space


def filled(outline: np.ndarray, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    labels = np.zeros(size[::-1], np.uint8)
    paint(labels, Shape(1, "a", [outline]), 1)
    return labels


def test_compressed_and_plain_masks_are_those_of_coco() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        inside = np.asfortranarray(rng.random((30, 40)) < share)
        encoded = coco_masks.encode(inside.astype(np.uint8, order="F"))
        compressed = {"size": [30, 40], "counts": encoded["counts"].decode()}
        np.testing.assert_array_equal(coco_mask(compressed, (30, 40), "a"), inside)
    hole = {"size": [4, 6], "counts": [4, 4, 0, 1, 2, 1, 0, 4, 8]}
    expected = np.zeros((4, 6), bool)
    expected[:, 1:4] = True
    expected[1:3, 2] = False
    np.testing.assert_array_equal(coco_mask(hole, (4, 6), "a"), expected)


@pytest.mark.parametrize(
    "rle",
    [
        None,
        {"size": [4, 6]},
        {"size": [6, 4], "counts": [24]},
        {"size": [4, 6], "counts": [23]},
        {"size": [4, 6], "counts": [25, -1]},
        {"size": [4, 6], "counts": [True, 23]},
        {"size": [4, 6], "counts": "\x7f"},
        {"size": [4, 6], "counts": "PPPPPPPPPPPPPPPPPPPPP0"},
    ],
)
def test_what_is_no_mask(rle: object) -> None:
    with pytest.raises(DataError, match=r"^a.*: .* (mend or )?remove it$"):
        coco_mask(rle, (4, 6), "a")


def test_outlines_are_filled_as_by_coco_but_for_their_edge() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        angles = np.sort(rng.random(9)) * 2 * np.pi
        radius = rng.uniform(5, 14, 9)
        outline = np.stack([20 + radius * np.cos(angles), 15 + radius * np.sin(angles)], 1)
        theirs = coco_masks.decode(coco_masks.frPyObjects([outline.ravel().tolist()], 30, 40))[..., 0]
        ours = filled(outline)
        assert (ours != theirs).sum() < 0.2 * np.hypot(*(outline - np.roll(outline, 1, 0)).T).sum()
        assert abs(ours.sum(dtype=int) - theirs.sum(dtype=int)) < 8


def test_whole_pixels_are_exact_and_what_lies_outside_is_cut() -> None:
    np.testing.assert_array_equal(filled(rectangle(1, 1, 4, 3), (6, 4)), exported.LABELS == 1)
    assert filled(rectangle(-5, -5, 2, 2), (6, 4)).sum() == 4
    assert filled(rectangle(7, 1, 9, 3), (6, 4)).sum() == 0
    assert filled(np.array([[0, 0], [1e12, 0], [1e12, 1e12], [0, 1e12]]), (6, 4)).sum() == 24
    bow = outline_of([0, 0, 6, 4, 6, 0, 0, 4], "a")  # crosses itself
    assert filled(bow, (6, 4)).sum() == 12
    np.testing.assert_allclose(extent(Shape(1, "a", [ellipse(5, 5, 2, 1)])), (3, 4, 7, 6))
    np.testing.assert_allclose(turned(rectangle(0, 0, 4, 2), 90).min(0), (1, -1))
    labels = np.zeros((4, 6), np.uint8)
    paint(labels, Shape(1, "a", mask=Mask(np.ones((3, 9), bool), -1, 2)), 7)
    assert (labels == 7).sum() == 12
    assert extent(Shape(1, "a", mask=Mask(np.eye(3, dtype=bool), 2, 1))) == (2, 1, 5, 4)


def test_order() -> None:
    large, small = rectangle(0, 0, 6, 4), rectangle(1, 1, 4, 3)
    shapes = [Shape(1, "car", [small]), Shape(2, "road", [large])]
    ids = {"car": 1, "road": 2}
    assert (drawn(shapes, ids, 0, (6, 4)) == 2).all()  # the later one over the earlier one
    by_level = [shapes[0]._replace(level=3), shapes[1]]
    assert (drawn(by_level, ids, 0, (6, 4)) == 1).sum() == 6


@pytest.mark.parametrize("numbers", [[0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, 1, 2, float("nan")]])
def test_what_is_no_outline(numbers: list[float]) -> None:
    with pytest.raises(DataError, match=r"^a: an outline of . numbers, expected x y of 3 corners or more; mend it$"):
        outline_of(numbers, "a")


def test_smaller_objects_of_coco_cover_larger_ones(tmp_path: Path) -> None:
    """Parts of one object are added up, one without an outline is left out and said."""
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "road"}]
    document = exported.coco_document(["a.jpg"], categories)
    whole = {"id": 7, "image_id": 1, "category_id": 2, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]], "bbox": [0, 0, 6, 4]}
    parts = {**whole, "id": 8, "category_id": 1, "segmentation": [[5, 0, 6, 0, 6, 1, 5, 1], [0, 0, 1, 0, 1, 1, 0, 1]]}
    document["annotations"] += [parts, whole, {**whole, "id": 9, "segmentation": []}]
    exported.text(tmp_path / "result.json", json.dumps(document))
    exported.photo(tmp_path / "images" / "a.jpg")
    (reader,) = open_datasets(str(tmp_path), role="source", label_space=label_space("background, car, road"))
    expected = np.where(exported.LABELS == 0, 2, exported.LABELS)
    expected[0, [0, 5]] = 1
    np.testing.assert_array_equal(reader[0].labels, expected)
    assert reader.notes[-1].endswith("result.json: 1 annotations have no outline: they are left out, as background")
    assert reader.own_counts(0) == {"car": 8, "road": 16}
