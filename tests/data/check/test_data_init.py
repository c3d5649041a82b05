"""`minorkey data init`: what it writes is read, by a check that finds nothing wrong."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from minorkey.cli.data import data
from minorkey.datacheck import check
from minorkey.datacheck.guess import init_dataset
from minorkey.errors import ConfigError, DataError
from minorkey.system.storage import write_text

PHOTO = np.full((4, 6, 3), 90, np.uint8)
IDS = np.array([[0, 1, 1, 3, 3, 255]] * 4, np.uint8)
COLOURS = np.array([[0, 0, 0], [9, 8, 7], [200, 0, 0]], np.uint8)[np.minimum(IDS, 2)]


def save(root, name, pixels=PHOTO):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(root / name)


def made(root, **options):
    """What was written, once the check of it has found nothing wrong."""
    guess, file = init_dataset(root, **options)
    found = check(str(root), {"task": guess.task})[0]
    assert found.all_problems == []
    assert sum(each.looked_at for each in found.data) >= 2
    return yaml.safe_load(file.read_text()), found


LAYOUTS = [
    ("images/{s}/{k}.jpg", "labels/{s}/{k}.png"),
    ("images/{s}/{k}.jpg", "labels/{s}/{k}_mask.png"),
    ("{s}/{k}.jpg", "{s}/{k}_mask.png"),
    ("{s}/{k}.jpg", "{s}/{k}.png"),
    ("img_dir/{s}/{k}.jpg", "ann_dir/{s}/{k}.png"),
    ("{s}/{k}.png", "{s}annot/{k}.png"),
    ("{s}/images/{k}.jpg", "{s}/masks/{k}.png"),
    ("leftImg8bit/{s}/city/city_{k}_leftImg8bit.png", "gtFine/{s}/city/city_{k}_gtFine_labelIds.png"),
    ("rgb/{s}/rgb_{k}.png", "gt/{s}/ss_{k}.png"),
    ("{s}/{k}_01.jpg", "{s}_masks/{k}_01_mask.gif"),
]


@pytest.mark.parametrize(("photo", "label"), LAYOUTS)
def test_label_images_in_usual_folders(tmp_path, photo, label):
    for split in ("train", "valid"):
        for key in ("0001", "0002"):
            save(tmp_path, photo.format(s=split, k=key))
            save(tmp_path, label.format(s=split, k=key), IDS)
            if "labelIds" in label:
                save(tmp_path, label.format(s=split, k=key).replace("labelIds", "color"), COLOURS)
    values, found = made(tmp_path)
    assert values["ids"] == {0: "class_0", 1: "class_1", 3: "class_3", 255: "ignore"}
    assert values["splits"] == {"train": "train", "val": "valid"}
    assert [(each.name, each.images) for each in found.data] == [(f"{tmp_path}:train", 2), (f"{tmp_path}:val", 2)]
    assert found.label_space == "class_0, class_1, class_3"


def test_what_is_written_says_how_often_a_class_occurs(tmp_path):
    for key in "ab":
        save(tmp_path, f"images/{key}.jpg")
        save(tmp_path, f"masks/{key}.png", IDS)
    values, _ = made(tmp_path)
    assert (values["images"], values["labels"], values["splits"]) == ("images/{key}.*", "masks/{key}.*", ["all"])
    text = (tmp_path / "dataset.yaml").read_text()
    assert "  1: class_1  # 33 % of the pixels\n" in text


@pytest.mark.parametrize("on", [1, 255])
def test_masks_of_one_thing(tmp_path, on):
    for split in ("train", "val"):
        save(tmp_path, f"images/{split}/a.jpg")
        save(tmp_path, f"masks/{split}/a.png", np.where(IDS == 3, on, 0).astype(np.uint8))
    values, found = made(tmp_path)
    assert values["ids"] == {0: "background", on: "foreground"}
    assert found.label_space == "background, foreground"


def test_painted_labels_of_which_some_are_grey(tmp_path):
    for key, pixels in (("a", np.zeros_like(COLOURS)), ("b", COLOURS)):
        save(tmp_path, f"train/images/{key}.jpg")
        save(tmp_path, f"train/labels/{key}.png", pixels)
        save(tmp_path, f"test/images/{key}.jpg")
    values, _ = made(tmp_path)
    assert values["colours"] == {"class_0": [0, 0, 0], "class_1": [9, 8, 7], "class_2": [200, 0, 0]}
    assert values["unlabelled"] == ["test"]


NAMED = [
    (COLOURS, "class_dict.csv", "name,r,g,b\nroof,9,8,7\nsky,1,1,1\n", "colours",
     {"roof": [9, 8, 7], "sky": [1, 1, 1], "class_2": [0, 0, 0], "class_3": [200, 0, 0]}),
    (IDS, "classes.txt", "ground\nroof\nsky\n", "ids",
     {0: "ground", 1: "roof", 2: "sky", 3: "class_3", 255: "ignore"}),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "file", "content", "key", "expected"), NAMED)
def test_classes_have_the_names_that_a_file_beside_says(tmp_path, labels, file, content, key, expected):
    for image in "ab":
        save(tmp_path, f"images/{image}.jpg")
        save(tmp_path, f"masks/{image}.png", labels)
    write_text(tmp_path / file, content)
    values, _ = made(tmp_path)
    assert values[key] == expected


BOXES = {
    "yolo": "2 0.5 0.5 0.5 0.5\n",
    "kitti": "Car 0 0 0 1 1 4 3 0 0 0 0 0 0 0\nDontCare 0 0 0 0 0 1 1 0 0 0 0 0 0 0\n",
}
VOC = (
    "<annotation><object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
    "</object></annotation>"
)


@pytest.mark.parametrize("form", BOXES)
def test_boxes_in_lines(tmp_path, form):
    for split in ("train", "val"):
        for key in "ab":
            save(tmp_path, f"images/{split}/{key}.png")
            write_text(tmp_path / "labels" / split / f"{key}.txt", BOXES[form])
    values, found = made(tmp_path)
    assert values["boxes"] == form
    assert values["classes"] == {"yolo": ["class_0", "class_1", "class_2"], "kitti": ["Car"]}[form]
    assert found.data[0].frequencies
    if form == "yolo":
        (tmp_path / "dataset.yaml").unlink()
        write_text(tmp_path / "data.yaml", "names: {0: tractor, 1: bale, 2: 'silo, old'}\nnc: 3\n")
        values, found = made(tmp_path)
        assert (values["classes"], found.label_space) == (
            ["tractor", "bale", "silo, old"],
            'tractor, bale, "silo, old"',
        )


def test_boxes_of_pascal_voc(tmp_path):
    for split, name in (("train", "tractor"), ("val", "bale")):
        save(tmp_path, f"JPEGImages/{split}1.jpg")
        write_text(tmp_path / "Annotations" / f"{split}1.xml", VOC.format(name))
        write_text(tmp_path / "ImageSets" / "Main" / f"{split}.txt", f"{split}1\n")
    values, found = made(tmp_path)
    assert (values["classes"], found.label_space) == (["bale", "tractor"], "bale, tractor")
    assert [each.images for each in found.data] == [1, 1]


@pytest.mark.parametrize(
    ("photo", "file"),
    [
        ("images/{}/a.jpg", "annotations/instances_{}.json"),
        ("{}2017/a.jpg", "annotations/instances_{}2017.json"),
        ("{}/a.jpg", "{}/_annotations.coco.json"),
    ],
)
def test_boxes_of_coco(tmp_path, photo, file):
    row = {"id": 1, "image_id": 1, "category_id": 4, "bbox": [0, 0, 2, 2]}
    for split in ("train", "val"):
        save(tmp_path, photo.format(split))
        content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [row]}
        content["categories"] = [{"id": 4, "name": "bale"}, {"id": 5, "name": "tractor\nreader: a:b"}]
        write_text(tmp_path / file.format(split), json.dumps(content))
    values, found = made(tmp_path)
    assert values["annotations"] == file.format("{split}").replace("2017", "")
    assert (found.label_space, [each.images for each in found.data]) == ("bale, tractor\nreader: a:b", [1, 1])
    assert "reader" not in values


def test_class_folders(tmp_path):
    for split in ("train", "valid"):
        for name in ("apple", "leaf, old"):
            save(tmp_path, f"{split}/{name}/{name}_1.jpg")
            save(tmp_path, f"{split}/{name}/{name}_2.jpg")
    values, found = made(tmp_path)
    assert values == {"images": "{split}/{category}/{key}.*", "splits": {"train": "train", "val": "valid"}}
    assert found.label_space == 'apple, "leaf, old"'


def test_the_command(tmp_path):
    for split in ("train", "val"):
        save(tmp_path, f"images/{split}/a.jpg")
        save(tmp_path, f"labels/{split}/a.png", IDS)
    run = CliRunner().invoke(data, ["init", str(tmp_path), "--images", "1"])
    assert run.exit_code == 0, run.output
    assert f"next: minorkey data check {tmp_path}\n" in run.stdout
    text = (tmp_path / "dataset.yaml").read_text()
    assert "# 1 of 2 label images were looked at: others may occur.\n" in text
    with pytest.raises(ConfigError, match=r"dataset\.yaml' is there already; edit it, or have the guess written"):
        init_dataset(tmp_path)
    assert (tmp_path / "dataset.yaml").read_text() == text
    init_dataset(tmp_path, tmp_path / "guess.yaml")
    assert (tmp_path / "guess.yaml").is_file()


def test_the_next_command_is_one_that_runs(tmp_path):
    save(tmp_path / "my farm", "images/train/a.jpg")
    save(tmp_path / "my farm", "labels/train/a.png", IDS)
    run = CliRunner().invoke(data, ["init", str(tmp_path / "my farm"), "--images", "1"])
    assert f"next: minorkey data check '{tmp_path / 'my farm'}'\n" in run.stdout


def test_what_is_no_data_set_is_one_line(tmp_path):
    with pytest.raises(DataError, match="none is missing"):
        init_dataset(tmp_path / "none")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match="holds no data set that is known by its files; expected images and"):
        init_dataset(tmp_path)
    with pytest.raises(ConfigError, match="unknown task 'segmentatoin'; did you mean 'segmentation'"):
        init_dataset(tmp_path, task="segmentatoin")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    save(tmp_path, "images/a.png")
    save(tmp_path, "labels/a.png", noise)
    with pytest.raises(DataError, match=r"a\.png: label images hold more than 256 colours"):
        init_dataset(tmp_path)
    (tmp_path / "labels" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"labels/a\.png"):
        init_dataset(tmp_path)
    assert not (tmp_path / "dataset.yaml").exists()


def test_classes_of_yolo_keep_their_numbers(tmp_path):
    for split in ("train", "val"):
        save(tmp_path, f"images/{split}/a.jpg")
        write_text(tmp_path / "labels" / split / "a.txt", "3 0.5 0.5 0.5 0.5\n")
    write_text(tmp_path / "data.yaml", "names: {3: car, 1: person}\n")
    values, found = made(tmp_path)
    assert values["classes"] == {1: "person", 3: "car"}
    assert found.label_space == "person, car"


def test_two_folders_of_one_split_are_told(tmp_path):
    for split in ("train2012", "train2017"):
        save(tmp_path, f"images/{split}/a.jpg")
        save(tmp_path, f"labels/{split}/a.png", IDS)
    with pytest.raises(DataError, match="'train2012' and 'train2017' are one split; rename one of them"):
        init_dataset(tmp_path)


def test_folders_of_images_and_labels_are_no_classes(tmp_path):
    for split in ("train", "val"):
        save(tmp_path, f"{split}/a.jpg")
        save(tmp_path, f"{split}_labels/a.jpg", IDS)  # as JPEG, which holds no ids
    assert "classification" not in str(check(str(tmp_path), {})[0].all_problems)
    with pytest.raises(
        DataError, match=r"train_labels/a.jpg and 1 more look like labels, but JPEG blurs .*: save them as PNG"
    ):
        init_dataset(tmp_path)
