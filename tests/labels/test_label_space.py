import json
import pickle

import numpy as np
import pytest
import yaml

from minorkey.errors import ConfigError
from minorkey.labels import colourise, label_space
from minorkey.labels.space import held
from minorkey.labels.written import SpaceRow

# cityscapesScripts, helpers/labels.py: colours of train ids 0 to 18
CITYSCAPES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


def test_cityscapes_is_the_official_table():
    space = label_space("cityscapes19")
    assert space.classes == tuple(CITYSCAPES)
    assert space.colours.tolist() == [list(colour) for colour in CITYSCAPES.values()]
    assert space.colours.dtype == np.uint8


DETECTION = ["weather7", "cityscapes8", "bdd10", "kitti3", "carla5", "coco80", "voc20"]


@pytest.mark.parametrize("name", ["cityscapes19", "cityscapes16", "street7", "street11", *DETECTION])
def test_every_class_accepts_itself_and_has_its_own_colour(name):
    space = label_space(name)
    lookup = space.id_map(dict(enumerate(space.classes)))
    assert lookup[: len(space)].tolist() == list(range(len(space)))
    assert len({tuple(colour) for colour in space.colours.tolist()}) == len(space)
    assert (0, 0, 0) not in {tuple(colour) for colour in space.colours.tolist()}  # black means ignored


def test_cityscapes16_is_a_part_of_cityscapes19():
    full, part = label_space("cityscapes19"), label_space("cityscapes16")
    kept = [full.classes.index(name) for name in part.classes]
    assert kept == [i for i in range(19) if full.classes[i] not in ("terrain", "truck", "train")]
    assert np.array_equal(part.colours, full.colours[kept])
    expected = [kept.index(i) if i in kept else 255 for i in range(19)]
    assert part.id_map(dict(enumerate(full.classes)))[:19].tolist() == expected


@pytest.mark.parametrize("name", DETECTION)
def test_names_of_one_class_are_accepted_alike(name):
    space = label_space(name)
    assert len(space) == int("".join(filter(str.isdigit, name)))
    for same in (
        ["bike", "bicycle"],
        ["motor", "motorcycle", "motorbike", "motobike"],
        ["person", "pedestrian"],
    ):
        places = {space.own(synonym) for synonym in same}
        assert len(places) == 1, same


def test_ade150():
    space = label_space("ade150")
    assert len(space) == 150
    assert (space.classes[0], space.classes[149]) == ("wall", "flag")
    assert space.colours[[0, 149]].tolist() == [[120, 120, 120], [92, 0, 255]]


def test_id_map_by_hand():
    ids = {
        0: "sky",
        3: "road",
        4: "pavement",
        5: "tree",
        8: "car",
        9: "pedestrian",
        11: "void",
        200: "Traffic_Sign",
    }
    lookup = label_space("street7").id_map(ids)
    expected = {0: 4, 3: 0, 4: 1, 5: 3, 8: 5, 9: 255, 11: 255, 200: 6}
    assert lookup.dtype == np.int16
    assert [int(lookup[i]) for i in range(256)] == [expected.get(i, -1) for i in range(256)]


def test_cityscapes_ids_in_street7():
    lookup = label_space("street7").id_map(dict(enumerate(label_space("cityscapes19").classes)))
    assert lookup[:19].tolist() == [0, 1, 2, 6, 6, 6, 6, 6, 3, 3, 4, 255, 255, 5, 5, 5, 5, 255, 255]


def test_cityscapes_ids_in_street11():
    lookup = label_space("street11").id_map(dict(enumerate(label_space("cityscapes19").classes)))
    assert lookup[:19].tolist() == [0, 1, 2, 3, 3, 4, 4, 4, 5, 6, 7, 8, 8, 9, 9, 9, 9, 10, 10]


def test_places_by_name():
    space = label_space("weather7")
    places = space.places(["Motorcycle", "van", "train", "tree"], ignores=["tree"], read_as={"van": "car"})
    assert places == {"Motorcycle": 3, "van": 2, "train": 255, "tree": 255}
    assert (space.own("pedestrian"), space.own("train"), space.own("camel")) == (4, None, None)
    with pytest.raises(ConfigError, match="'weather7' has no place for 'camel'"):
        space.places(["camel"])


def test_class_without_a_place_is_named_unless_ignored():
    space = label_space("cityscapes19")
    with pytest.raises(ConfigError, match=r"'cityscapes19' has no place for 'object', 'vehicle': choose"):
        space.id_map({0: "road", 5: "vehicle", 6: "object"})
    assert space.id_map({5: "vehicle", 6: "object"}, ignores=["Vehicle", "object"])[[5, 6]].tolist() == [
        255,
        255,
    ]


def test_id_out_of_range():
    with pytest.raises(ConfigError, match="id 256 of class 'road' is out of range"):
        label_space("street7").id_map({256: "road"})


def test_unknown_space_offers_the_closest():
    with pytest.raises(ConfigError, match="unknown label space 'cityscape19'; did you mean 'cityscapes19'"):
        label_space("cityscape19")


def test_colourise():
    picture = colourise(np.array([[0, 4], [255, 6]], np.uint8), label_space("street7"))
    assert picture.tolist() == [[[128, 64, 128], [70, 130, 180]], [[0, 0, 0], [220, 220, 0]]]
    assert picture.dtype == np.uint8


def test_space_survives_a_worker():
    space = pickle.loads(pickle.dumps(label_space("street7")))
    assert space.id_map({1: "road"})[1] == 0


def test_space_of_a_user(tmp_path):
    file = tmp_path / "farm.yaml"
    file.write_text("classes:\n  crop: {colour: [0, 255, 0], accepts: [wheat]}\n  soil: {colour: [90, 60, 30]}\n")
    space = label_space(str(file))
    assert (space.name, space.classes) == ("farm", ("crop", "soil"))
    assert space.id_map({7: "wheat"})[7] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [", r"not valid YAML at line 1"),
        ("clases: {a: {colour: [0, 0, 0]}}", r"classes: Field required"),
        ("classes: {a: {colour: [0, 0, 0]}}\nignore: [b]", r"unknown key 'ignore'; did you mean 'ignores'"),
        (
            "classes: {a: {colour: [0, 0, 300]}}",
            r"classes\.a\.colour\.2: Input should be less than or equal to 255",
        ),
        ("classes: {a: {colour: [0, 0, 1]}}\nignores: [A]", r"gives 'a' two places"),
    ],
)
def test_wrong_space_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        label_space(str(file))
    assert "\n" not in str(caught.value)
    assert "mine" in str(caught.value)


def test_missing_space_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml: No such file"):
        label_space(str(tmp_path / "none.yaml"))


def test_a_list_of_names_stands_for_itself():
    names = ["background", "road, wet", 'a "b"', "[c]", "line\nbreak"]
    space = label_space(names)
    assert space.classes == tuple(names)
    assert label_space(space.name).classes == space.classes, "its name says all of it"
    assert len({tuple(colour) for colour in space.colours.tolist()}) == 5
    assert space.id_map({0: "Background", 1: "road, wet", 2: 'A "b"', 255: "ignore"})[[0, 1, 2, 255]].tolist() == [
        0,
        1,
        2,
        255,
    ]
    assert label_space(["dog"]).classes == ("dog",)
    assert label_space(label_space(["dog"]).name).classes == ("dog",)


SHORT = [
    ("[background, road]", [[230, 80, 80], [80, 124, 230]]),
    ("{background: [0, 0, 0], road: [1, 2, 3]}", [[0, 0, 0], [1, 2, 3]]),
    ("{background: [0, 0, 0], road: }", [[0, 0, 0], [80, 124, 230]]),
    ("classes: [background, road]\nignores: [sky]", [[230, 80, 80], [80, 124, 230]]),
    ("classes: {background: [0, 0, 0], road: {accepts: [street]}}", [[0, 0, 0], [80, 124, 230]]),
    ("classes:\n- {name: background, colour: [0, 0, 0]}\n- road", [[0, 0, 0], [80, 124, 230]]),
]


@pytest.mark.parametrize(("text", "colours"), SHORT)
def test_short_forms_mean_the_same_in_a_file_and_in_a_setting(tmp_path, text, colours):
    file = tmp_path / "farm.yaml"
    file.write_text(text)
    in_file, given = label_space(str(file)), label_space(yaml.safe_load(text))
    for space in (in_file, given):
        assert space.classes == ("background", "road")
        assert np.abs(space.colours.astype(int) - colours).max() <= 1
    assert (in_file.name, given.name) == ("farm", "background, road")


def test_what_is_held_needs_no_file(tmp_path):
    file = tmp_path / "farm.yaml"
    file.write_text("classes: {soil: [90, 60, 30], crop: {accepts: [wheat]}}\nignores: [sky]\n")
    kept = held(str(file))
    file.unlink()
    again = SpaceRow.model_validate(json.loads(kept.model_dump_json()))
    assert again == kept
    space = label_space(again)
    assert (space.name, space.classes) == ("farm", ("soil", "crop"))
    assert space.id_map({3: "wheat", 4: "sky"})[[3, 4]].tolist() == [1, 255]
    swapped = held(again.model_copy(update={"classes": dict(reversed(again.classes.items()))}))
    assert swapped.model_dump(mode="json") != kept.model_dump(mode="json"), "the order is part of what is compared"
    assert held("cityscapes19") == "cityscapes19"
    assert held("cat,dog") == "cat, dog"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "it names no class"),
        (["a", "a"], "names class 'a' twice"),
        ({}, "classes: Field required"),
        ({"a": [0, 0, 256]}, "less than or equal to 255"),
        ({"a": [0, 0]}, "classes.a.colour"),
        ('a, "b', "is not closed by a quote"),
        ("a, A", "names a class twice"),
        ({"classes": [{"colour": [0, 0, 0]}]}, "class None is no text"),
    ],
)
def test_what_is_wrong_with_a_list_or_a_mapping_is_one_line(written, message):
    with pytest.raises(ConfigError, match=message) as caught:
        label_space(written)
    assert "\n" not in str(caught.value)


def test_more_classes_than_a_label_image_holds():
    space = label_space([f"class {number}" for number in range(300)])
    assert len(space) == 300, "of whole images there may be as many"
    assert len(label_space({"classes": {f"class {number}": None for number in range(300)}})) == 300
    with pytest.raises(ConfigError, match="has 300 classes; label images hold at most 255"):
        space.id_map({0: "class 0"})
