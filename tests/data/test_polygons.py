import json

import numpy as np
import pytest

from minorkey.data.polygons import read_polygons
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
        (b"{}", r"a\.json: broken polygons \('imgWidth'\)"),
        (scene({"label": "camel", "polygon": []}), r"a\.json: no map names class 'camel'; add it"),
    ],
)
def test_broken_scenes(content, message):
    with pytest.raises(DataError, match=message):
        read_polygons(content, IDS, "a.json")
