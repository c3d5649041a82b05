"""The classes that data sets name themselves, whatever they are of, and when they are those of a run."""

import json

import numpy as np
import pytest
from PIL import Image

from minorkey.config import load_config, resolve, save_config
from minorkey.data.classes import classes_of_source
from minorkey.datacheck import check
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space
from minorkey.runs.from_sources import with_classes


def write(root, yaml, labels="labels/{}/0.png", value=0, splits=("train", "val")):
    """An image of each split with a label image of one value."""
    for split in splits:
        for name, pixels in ((f"images/{split}/0.png", np.zeros((4, 6, 3))), (labels.format(split), value)):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.broadcast_to(pixels, (4, 6, *np.shape(pixels)[2:])).astype(np.uint8)).save(file)
    (root / "dataset.yaml").write_text(yaml)
    return str(root)


def named(*sources, annotation="pixels"):
    space = classes_of_source(sources, annotation=annotation, data_root=None)
    return space if isinstance(space, str) else {name: row.colour for name, row in space.classes.items()}


COCO = {"images": [{"id": 1, "file_name": "0.png"}], "annotations": []}


def coco(root, *names, split="train"):
    write(root, "boxes: coco\nignores: [glare]\n", splits=[split])
    categories = [{"id": 7 * number, "name": name} for number, name in enumerate(names)]
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"{split}.json").write_text(json.dumps(COCO | {"categories": categories}))
    return str(root)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("ids: {1: road, 0: soil, 255: ignore}", "road, soil"),
        ("ids: [Void, soil, road, Road]\nignores: [soil]", "road,"),
        ("ids: {0: soil, 7: road, 9: sky}\nread_as: {ignore: [sky], soil: [road]}", "soil, road"),
        ("ids: ['soil, dry', road]", '"soil, dry", road'),
        ("colours: {soil: [90, 60, 30], void: [0, 0, 0], road: [1, 2, 3]}", {"soil": (90, 60, 30), "road": (1, 2, 3)}),
        ("legend: cityscapes", "cityscapes19"),
        ("legend: cityscapes-train", "cityscapes19"),
    ],
)
def test_of_label_images(tmp_path, text, classes):
    assert named(write(tmp_path, text)) == classes


def test_of_boxes(tmp_path):
    assert named(coco(tmp_path / "coco", "tractor", "glare", "bale"), annotation="boxes") == "tractor, bale"
    yolo = write(tmp_path / "yolo", "boxes: yolo\nclasses: {3: tractor, 0: bale, 1: van}\ncrowds: {tractor: [van]}\n")
    assert named(yolo, annotation="boxes") == "tractor, bale"


def test_several_sources_have_the_same_classes_in_whichever_order(tmp_path):
    first = write(tmp_path / "a", "ids: [soil, road]\n")
    assert named(first, write(tmp_path / "b", "ids: {0: Road, 3: soil, 255: ignore}\n")) == "soil, road"
    with pytest.raises(DataError) as caught:
        named(first, write(tmp_path / "c", "ids: [soil, road, 'a, b']\n"))
    assert str(caught.value) == (
        f"data set '{tmp_path / 'c'}:train' has class 'a, b', '{first}:train' has not, and whether it is labelled "
        "there is not clear; make their classes the same or, if that is on purpose, name those of both: "
        "label_space=\"[soil, road, 'a, b']\""
    )


def test_files_of_one_data_set_that_contradict_each_other(tmp_path):
    root = coco(tmp_path, "car", "person")
    coco(tmp_path, "car", "pedestrian", split="val")
    with pytest.raises(DataError, match=r"':train|train' has class 'person', '.*:val' has not"):
        named(f"{root}:train,val", annotation="boxes")


def test_a_class_that_only_the_images_to_judge_on_have_is_said_with_the_data_set(tmp_path):
    root = coco(tmp_path, "car", "person")
    coco(tmp_path, "car", "pedestrian", split="val")
    (line,) = check(root, {"task": "detection"})[0].all_problems
    assert line == (
        f"{root} as unseen domain: {root}: label space 'car, person' has no place for 'pedestrian': choose a label "
        "space that accepts them, or list them under `ignores` in dataset.yaml"
    )


def test_a_data_set_with_one_split_names_its_classes_too(tmp_path):
    assert named(write(tmp_path, "ids: [soil, road]", splits=["val"])) == "soil, road"


def test_what_names_none(tmp_path):
    with pytest.raises(ConfigError, match="'world:clear' names no classes by itself; name them"):
        named("world:clear")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"dataset\.yaml is missing"):
        named(str(tmp_path / "empty"))


def test_one_s_own_data_names_the_classes_unless_a_known_data_set_is_there_too(tmp_path):
    own = write(tmp_path / "farm", "ids: [soil, road]\n")
    for values, expected in (
        ({"source": own}, "source"),
        ({"source": [own], "unseen": [f"{own}:val+fog@2"]}, "source"),
        ({"source": {"data": own, "fraction": 0.5}, "task": "detection"}, "source"),
        ({"source": own, "unseen": "camvid:test"}, "cityscapes19"),
        ({"source": [own, "world:clear"]}, "cityscapes19"),
        ({"source": own, "target": "acdc-night", "regime": "transda"}, "cityscapes19"),
        ({"source": own, "unseen": "mine.data:Farm"}, "cityscapes19"),
        ({"source": "cityscapes", "task": "detection"}, "cityscapes19"),
        ({"source": "pacs-photo", "task": "classification"}, "source"),
        ({"source": own, "label_space": "street7"}, "street7"),
    ):
        assert resolve(None, values).label_space == expected, values
    (tmp_path / "farm" / "dataset.yaml").write_text("reader: mine.data:Farm\n")
    assert resolve(None, {"source": own}).label_space == "cityscapes19", "a reader of one's own names none"


def test_a_configuration_holds_its_classes(tmp_path):
    own = write(tmp_path, "colours: {soil: [90, 60, 30], road: [1, 2, 3]}")
    for given in ("source", "folders", ["soil", "road"], str(tmp_path / "space.yaml")):
        (tmp_path / "space.yaml").write_text("{soil: [9, 9, 9], road: }")
        config = with_classes(resolve(None, {"source": own, "label_space": given}))
        save_config(config, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config
        (tmp_path / "space.yaml").unlink()
        space = label_space(load_config(tmp_path / "config.yaml").label_space)
        assert space.classes == ("soil", "road")
        assert with_classes(config) == config


def test_a_setting_replaces_the_classes_of_a_file_whole(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("source: world:clear\nlabel_space: {road: [1, 2, 3], sky: }\n")
    assert label_space(resolve(file, {"label_space": {"sky": None, "car": None}}).label_space).classes == ("sky", "car")
    assert label_space(resolve(file, {"label_space": ["car", "sky"]}).label_space).classes == ("car", "sky")
    with pytest.raises(ConfigError, match="class 0 is no text; write it in quotes"):
        resolve(file, {"label_space": [0, 1]})


def test_the_check_of_one_s_own_data(tmp_path):
    root = write(tmp_path, "ids: {0: soil, 1: road, 255: ignore}\n")
    found = check(root)[0]
    assert (found.label_space, found.all_problems) == ("soil, road", [])
    (tmp_path / "dataset.yaml").write_text("boxes: coco\n")
    broken = check(root, {"task": "detection"})[0]
    assert [line.partition(";")[0] for line in broken.all_problems] == [
        f"{root}: {root}: no annotations of split 'train'"
    ]
