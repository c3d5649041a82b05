import json

import numpy as np
import pytest

from minorkey.data.polygons import read_instances, read_polygons
from minorkey.errors import DataError

IDS = {"unlabeled": 9, "road": 0, "car": 3}


def scene(*things: dict) -> bytes:
    return json.dumps({"imgWidth": 6, "imgHeight": 5, "objects": list(things)}).encode()


def test_later_polygons_cover_earlier_ones():
    labels = read_polygons(
        scene(
            {"label": "road", "polygon": [[0, 2], [5, 2], [5, 4], [0, 4]]},
            {"label": "cargroup", "polygon": [[1, 1], [2.4, 1], [2.4, 3], [1, 3]]},
            {"label": "road", "deleted": 1, "polygon": [[0, 0], [5, 0], [5, 4], [0, 4]]},
        ),
        IDS,
        "a.json",
    )
    expected = np.full((5, 6), 9)
    expected[2:5] = 0
    expected[1:4, 1:3] = 3
    assert labels.dtype == np.uint8
    assert labels.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"a\.json: broken polygons \(.*\); replace or remove the file"),
        (b"{}", r"a\.json: broken polygons \('objects'\)"),
        (scene({"label": "camel", "polygon": []}), r"a\.json: no map names class 'camel'; add it"),
    ],
)
def test_broken_scenes(content, message):
    with pytest.raises(DataError, match=message):
        read_polygons(content, IDS, "a.json")


def test_instances_are_what_later_polygons_leave_visible():
    """Against masks of each polygon, drawn one by one."""
    rng = np.random.default_rng(0)
    things = [
        {
            "label": str(rng.choice(["car", "road", "person", "cargroup"])),
            "polygon": rng.integers(0, 6, (4, 2)).tolist(),
        }
        for _ in range(12)
    ]
    found, size = read_instances(scene(*things), {"car", "person"}, "a.json")
    assert size == (6, 5)
    masks = [read_polygons(scene({**thing, "label": "car"}), {"unlabeled": 0, "car": 1}, "") > 0 for thing in things]
    expected = []
    for number, (thing, mask) in enumerate(zip(things, masks, strict=True)):
        covered = np.any([np.zeros_like(mask), *masks[number + 1 :]], axis=0)
        rows, columns = np.nonzero(mask & ~covered)
        if len(rows) and thing["label"] != "road":
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            expected.append((number, thing["label"].removesuffix("group"), box, thing["label"] == "cargroup"))
    assert [tuple(instance) for instance in found] == expected
    assert 3 < len(expected) < 9
    with pytest.raises(DataError, match=r"a\.json: broken polygons"):
        read_instances(b"[]", {"car"}, "a.json")
