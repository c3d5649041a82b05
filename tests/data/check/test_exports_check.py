"""The check of a folder as a tool exports it: what it was taken for, what its classes become, how to train on it."""

import shutil
from pathlib import Path

import exported
import pytest
from typer.testing import CliRunner

from minorkey.cli.data import data
from minorkey.datacheck import check
from minorkey.datacheck.taken import train_command

STREETS = "label_space=background, car, road"


def look(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(data, ["check", *map(str, arguments), "--workers", "0"], env={"COLUMNS": "200"})
    return result.exit_code, result.stdout


def test_what_it_was_taken_for(tmp_path: Path) -> None:
    root = tmp_path / "streets"
    exported.roboflow_coco(root)
    code, shown = look(root, STREETS)
    assert code == 0
    first, *_, last = shown.strip().splitlines()
    assert first.startswith(f"{root} is taken for COCO JSON: {root}/t")
    assert first.endswith("lists images, annotations and categories (task=detection reads it too)")
    assert last == f"train on it: minorkey train source={root} 'label_space=background, car, road'"
    assert all(f"{root}:{split}" in shown for split in ("train", "val", "test"))
    assert [line.split()[1:4] for line in shown.splitlines() if "│ background │ background" in line]
    assert "by their content" not in shown
    assert f"warning: 2 images of {root}:val are called as images of {root}:train, e.g. a_png: look whether" in shown


def test_its_task_is_that_of_its_labels(tmp_path: Path) -> None:
    exported.label_studio_yolo(tmp_path / "streets")
    found, _ = check(str(tmp_path / "streets"), {"label_space": "car, road"})
    assert (found.task, found.all_problems) == ("detection", [])
    assert found.command == (
        f"minorkey train 'source={{data: {tmp_path}/streets, validation: 0.1}}' task=detection 'label_space=car, road'"
    )
    for name in ("cat", "dog"):
        exported.photo(tmp_path / "pets" / "train" / name / "1.png")
        exported.photo(tmp_path / "pets" / "valid" / name / "2.png")
    found, _ = check(str(tmp_path / "pets"), {"label_space": "cat, dog"})
    assert (found.task, found.all_problems) == ("classification", [])
    assert found.taken == [f"{tmp_path}/pets is taken for classified images: folders {{split}}/{{category}}/{{key}}.*"]
    assert found.command.startswith(f"minorkey train source={tmp_path}/pets task=classification")


def test_half_an_export_is_a_problem(tmp_path: Path) -> None:
    exported.cvat_coco(tmp_path)
    (tmp_path / "annotations" / "instances_val.json").write_text("{")
    code, shown = look(tmp_path, STREETS)
    assert code == 2
    assert "instances_val.json: broken JSON" in shown
    assert "train on it" not in shown


def test_images_that_splits_share(tmp_path: Path) -> None:
    exported.mmsegmentation(tmp_path)
    images = tmp_path / "img_dir"
    found, _ = check(str(tmp_path), {"label_space": "background, car, road"})
    assert found.warnings == [
        f"2 images of {tmp_path}:val are called as images of {tmp_path}:train, e.g. a: look whether they show the same"
    ]
    shutil.copy(images / "train" / "b.jpg", images / "val" / "a.jpg")
    found, _ = check(str(tmp_path), {"label_space": "background, car, road"})
    assert found.warnings == [
        f"1 images of {tmp_path}:val are those of {tmp_path}:train by their content, e.g. {images}/val/a.jpg and "
        f"{images}/train/b.jpg: scores on what is trained on say little"
    ]


@pytest.mark.parametrize(
    ("spec", "splits", "words"),
    [
        ("farm", ["train", "val"], "source=farm"),
        ("farm", ["all"], "'source={data: farm, validation: 0.1}'"),
        ("farm", ["site_a"], "'source={data: farm:site_a, validation: 0.1}'"),
        ("farm:train", ["train"], "'source={data: farm:train, validation: 0.1}'"),
        ("my farm", ["train", "test"], "'source=my farm'"),
        ("farm", ["train", "validation"], "source=farm"),  # as data sets of the hub call it
    ],
)
def test_the_shortest_command(spec: str, splits: list[str], words: str) -> None:
    assert train_command(spec, "segmentation", {}, splits) == f"minorkey train {words}"


@pytest.mark.parametrize(
    ("splits", "words"),
    [(["train", "all"], "source=fruit"), (["train"], "'source={data: fruit, validation: 0.1}'")],
)
def test_what_is_judged_on_is_drawn_where_no_split_is_published(splits: list[str], words: str) -> None:
    assert train_command("fruit", "classification", {}, splits) == f"minorkey train {words} task=classification"
