import numpy as np
import pytest

from minorkey.errors import ConfigError
from minorkey.labels import Legend, label_space, legend
from minorkey.labels.legend import LEGENDS_FILE
from minorkey.labels.tables import parse_row, read_yaml

VOID = 255
# cityscapesScripts, helpers/labels.py: train ids of ids 0 to 33
CITYSCAPES = [VOID] * 7 + [0, 1, VOID, VOID, 2, 3, 4, VOID, VOID, VOID, 5, VOID, *range(6, 16), VOID, VOID, 16, 17, 18]
# AutoNUE, helpers/anue_labels.py: csTrainId of ids 0 to 39
IDD = [
    0, VOID, VOID, 1, VOID, 9, 11, VOID, 12, 17, 18, VOID, 13, 14, 15, VOID, VOID, 16, VOID, VOID, 3, 4, VOID, VOID,
    7, 6, 5, VOID, VOID, 2, VOID, VOID, 8, 10, VOID, VOID, VOID, VOID, VOID, VOID,
]  # fmt: skip
# SYNTHIA to Cityscapes as domain adaptation papers use it, ids 0 to 22
SYNTHIA = [VOID, 10, 2, 0, 1, 4, 8, 5, 13, 7, 11, 18, 17, VOID, VOID, 6, 9, 12, 14, 15, 16, 3, VOID]
# Mapillary Vistas v1.2: train id -> ids
MAPILLARY = {
    0: [7, 8, 10, 13, 14, 23, 24], 1: [2, 9, 11, 15], 2: [17], 3: [6], 4: [3], 5: [44, 45, 47], 6: [48],
    7: [46, 49, 50], 8: [30], 9: [29], 10: [27], 11: [19], 12: [20, 21, 22], 13: [55], 14: [61], 15: [54], 16: [58],
    17: [57], 18: [52],
}  # fmt: skip


def train_ids(name: str, space: str = "cityscapes19") -> list[int]:
    lookup = legend(name).lookup(label_space(space))
    return lookup[list(legend(name).classes)].tolist()


def test_maps_of_the_benchmarks():
    assert train_ids("cityscapes")[:34] == CITYSCAPES
    assert train_ids("cityscapes-train") == [*range(19), VOID]
    assert train_ids("idd") == IDD
    assert train_ids("synthia") == SYNTHIA
    expected = {number: train_id for train_id, numbers in MAPILLARY.items() for number in numbers}
    assert train_ids("mapillary-v1.2") == [expected.get(number, VOID) for number in range(66)]
    assert train_ids("ade150", "ade150") == [VOID, *range(150)]


def test_second_release_of_mapillary_keeps_to_the_first():
    """A class of one name has one place in both releases."""
    names = ("mapillary-v1.2", "mapillary-v2.0")
    old, new = (dict(zip(legend(name).classes.values(), train_ids(name), strict=True)) for name in names)
    shared = old.keys() & new.keys()
    assert len(shared) > 55
    assert {name: old[name] for name in shared} == {name: new[name] for name in shared}


def test_synthia_fills_its_16_classes():
    assert set(train_ids("synthia", "cityscapes16")) == {*range(16), VOID}


@pytest.mark.parametrize("name", read_yaml(LEGENDS_FILE))
def test_what_a_class_is_read_as_is_a_class_of_it_or_the_spaces(name):
    row = legend(name)
    known = {*label_space("cityscapes19").classes, "ignore"}
    assert row.read_as.keys() <= known
    listed = [own for names in row.read_as.values() for own in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(row.classes.values())


def test_own_class_of_a_space_goes_first(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("classes:\n  road: {colour: [1, 1, 1]}\n  parking: {colour: [2, 2, 2]}\n")
    row = Legend(
        ids={0: "road", 1: "parking", 2: "rail", 3: "old"}, read_as={"road": ["parking", "rail"], "ignore": ["old"]}
    )
    assert row.lookup(label_space(str(file)))[:5].tolist() == [0, 1, 0, VOID, -1]
    assert row.lookup(label_space("street7"))[:4].tolist() == [0, 0, 0, VOID]


def test_colours():
    row = Legend(colours={"sky": (1, 2, 3), "road": (4, 5, 6)})
    assert row.classes == {0: "sky", 1: "road"}
    assert np.array_equal(row.palette, [[1, 2, 3], [4, 5, 6]])
    assert Legend(ids={0: "sky"}).palette is None


def test_list_of_ids_counts_from_0():
    assert parse_row(Legend, {"ids": ["sky", "road"]}, "mine").ids == {0: "sky", 1: "road"}


def test_unknown_legend_offers_the_closest():
    with pytest.raises(ConfigError, match="unknown legend 'mapillary-v1'; did you mean 'mapillary-v1.2'"):
        legend("mapillary-v1")


@pytest.mark.parametrize("name", ["void", "Unlabelled", "ignored", "unlabeled"])
def test_what_is_called_as_nothing_is_left_out_where_the_space_has_no_such_class(name):
    own = parse_row(Legend, {"ids": {0: "sky", 1: "road", 9: name}}, "own")
    assert own.own == ("sky", "road")
    assert own.lookup(label_space(list(own.own)))[[0, 1, 9]].tolist() == [0, 1, VOID]
    assert own.lookup(label_space(["sky", "road", name]))[9] == 2  # it may be asked for
