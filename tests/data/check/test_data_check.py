"""Every fault that is planted in a data set is found, and all of them at once."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minorkey.cli.data import data
from minorkey.data.readers import Subset, open_datasets
from minorkey.data.records import turned_among
from minorkey.datacheck import Check, check
from minorkey.datacheck.page import bar_length
from minorkey.datacheck.tables import problem_lines
from minorkey.errors import ConfigError
from minorkey.labels import label_space
from minorkey.tasks.segmentation.check import overlay

SPACE = {"label_space": "street7"}


@pytest.fixture
def streets(street_folder: Callable[..., Path]) -> Path:
    """Four images of each split, 48x32, ids 0 road and 1 car."""
    return street_folder()


def look(target: object, **changes: object) -> Check:
    return check(str(target), {**SPACE, **changes})[0]


def write_labels(file: Path, ids: np.ndarray) -> None:
    Image.fromarray(ids.astype(np.uint8)).save(file)


def config_file(folder: Path, source: Path, unseen: object, extra: str = "") -> Path:
    file = folder / "mine.yaml"
    file.write_text(f"source: ['{source}']\nunseen: ['{unseen}']\nlabel_space: street7\n{extra}")
    return file


def test_sound_data(streets):
    found = look(streets)
    assert found.all_problems == []
    assert [(each.name, each.images, each.looked_at) for each in found.data] == [
        (f"{streets}:train", 4, 4),
        (f"{streets}:val", 4, 4),
    ]
    train = found.data[0]
    labels = [np.asarray(Image.open(file)) for file in sorted((streets / "labels" / "train").iterdir())]
    assert train.frequencies["road"] == pytest.approx(np.mean([ids == 0 for ids in labels]))
    assert train.images_with["vehicle"] == 4
    assert train.sizes == {"48x32": 4}
    assert train.median_size == "48x32"
    assert found.warnings == ["classes that occur nowhere: sidewalk, building, vegetation, sky, object"]


def test_a_target_needs_no_labels(streets, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for name in "ab":
        Image.new("RGB", (48, 32)).save(frames / f"{name}.png")
    (frames / "b.png").write_bytes(b"no image")
    extra = f"target: ['{frames}']\nregime: self_training\n"
    found, _ = check(str(config_file(tmp_path, streets, f"{streets}:val", extra)))
    assert [(each.name, each.use) for each in found.data if each.use == "adapted to"] == [(str(frames), "adapted to")]
    assert [line for line in found.all_problems if "b.png: broken image" in line] == found.all_problems
    assert not any("have no labels" in line for line in found.warnings)


def test_every_planted_fault_is_found_in_one_go(streets):
    images, labels = streets / "images" / "train", streets / "labels" / "train"
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:90])
    write_labels(labels / "1.png", np.full((32, 48), 77))
    write_labels(labels / "2.png", np.zeros((30, 48)))
    (labels / "3.png").write_bytes(b"no image")
    found = look(streets)
    assert len(found.all_problems) == 4
    for file, text in [
        (images / "0.png", "broken image"),
        (labels / "1.png", "no map names id 77 (1536 pixels)"),
        (labels / "2.png", "48x30"),
        (labels / "3.png", "is not an image"),
    ]:
        assert any(str(file) in line and text in line for line in found.all_problems), file
    assert found.data[1].problems == []


def test_missing_label(streets):
    (streets / "labels" / "train" / "2.png").unlink()
    found = check(str(config_file(streets, streets, f"{streets}:val")))[0]
    (problem,) = found.all_problems
    assert "image '2' of split 'train' without a label" in problem


def test_all_missing_data_sets_are_named(tmp_path):
    found = check(str(config_file(tmp_path, tmp_path / "one", tmp_path / "two")))[0]
    assert found.data == []
    assert [line.partition(" ")[0] for line in found.problems] == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_missing_split_of_one_data_set_is_no_problem(streets):
    for kind in ("images", "labels"):
        shutil.rmtree(streets / kind / "val")
    found = look(streets)
    assert found.all_problems == []
    assert any("split 'val'" in line for line in found.warnings)


@pytest.mark.parametrize("lost", ["images", "labels"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_half_of_a_split_beside_a_sound_one(streets, split, lost):
    shutil.rmtree(streets / lost / split)
    found = look(streets)
    assert [split in line for line in found.all_problems] == [True]
    assert [each.name for each in found.data] == [f"{streets}:{'val' if split == 'train' else 'train'}"]
    result = CliRunner().invoke(data, ["check", str(streets), "label_space=street7", "--workers", "0"])
    assert result.exit_code == 2
    assert "nothing here" not in result.output


def test_every_split_that_is_there_is_looked_at(streets):
    shutil.copytree(streets / "images" / "val", streets / "images" / "more")
    shutil.copytree(streets / "labels" / "val", streets / "labels" / "more")
    (streets / "labels" / "more" / "2.png").write_bytes(b"no image")
    found = look(streets)
    assert [each.name for each in found.data] == [f"{streets}:{split}" for split in ("train", "val", "more")]
    assert [f"{streets}/labels/more/2.png" in line for line in found.all_problems] == [True]


def test_a_class_without_a_place_in_one_split(streets):
    """What the training would refuse is a problem, though the other split has no such class."""
    (streets / "dataset.yaml").write_text("ids: {0: road, 1: submarine}\n")
    assert ["submarine" in line for line in look(streets).all_problems] == [True]


def test_splits_that_share_their_images(streets):
    for kind in ("images", "labels"):
        shutil.rmtree(streets / kind / "val")
    text = "ids: {0: road, 1: car}\nimages: images/{key}.png\nlabels: labels/{key}.png\n"
    (streets / "dataset.yaml").write_text(text)
    (line,) = [line for line in look(streets).warnings if "are those of" in line]
    assert line.startswith(f"4 of 4 images of {streets}:val are those of {streets}:train")
    found = check(str(config_file(streets, streets, f"{streets}:val")))[0]
    assert sum("are trained on, as those of" in line for line in found.warnings) == 1  # judged on and unseen are one


def test_own_classes_and_what_they_become(streets):
    (streets / "dataset.yaml").write_text("ids: {0: road, 1: rock, 2: car}\nignores: [rock]\n")
    write_labels(streets / "labels" / "train" / "1.png", np.full((32, 48), 2))
    train = look(streets).data[0]
    own = {each.name: (each.becomes, each.count) for each in train.own}
    labels = [np.asarray(Image.open(file)) for file in sorted((streets / "labels" / "train").iterdir())]
    assert own == {
        "road": ("road", sum(int((ids == 0).sum()) for ids in labels)),
        "rock": ("ignored", sum(int((ids == 1).sum()) for ids in labels)),
        "car": ("vehicle", 32 * 48),
    }
    arguments = ["check", str(streets), "label_space=street7", "--workers", "0", "--out", str(streets / "out")]
    result = CliRunner().invoke(data, arguments, env={"COLUMNS": "300"})
    assert re.search(rf"rock +│ ignored +│ +{own['rock'][1]:,} ", result.output)
    assert "<td>ignored</td>" in (streets / "out" / "check.html").read_text()


def test_own_classes_are_kept_with_the_counts(streets, tmp_path, monkeypatch):
    monkeypatch.setenv("MINORKEY_CACHE", str(tmp_path / "cache"))
    first = look(streets).data
    assert look(streets).data == first
    assert sum(each.count for each in first[0].own) == 4 * 32 * 48


def test_what_has_changed_is_seen_whatever_is_kept(streets, tmp_path, monkeypatch):
    monkeypatch.setenv("MINORKEY_CACHE", str(tmp_path / "cache"))
    assert not any(each.problems for each in look(streets).data)
    (streets / "images" / "train" / "1.png").write_bytes(b"")
    assert any("1.png" in problem for each in look(streets).data for problem in each.problems)


def test_turned_images_are_said(streets):
    exif = Image.Exif()
    exif[0x0112] = 3
    for key in "02":
        file = streets / "images" / "train" / f"{key}.png"
        Image.open(file).save(file, exif=exif)
    (line,) = [line for line in look(streets).warnings if "EXIF" in line]
    assert line.startswith(f"{streets}:train: 2 of 4 images carry an EXIF orientation and are turned upright")
    (train,) = open_datasets(str(streets), role="source", label_space=label_space("street7"))
    (val,) = open_datasets(str(streets), role="unseen", label_space=label_space("street7"))
    assert [turned_among(reader) for reader in (train, Subset(train, [0, 1]), val)] == [2, 1, 0]


def test_unknown_name_offers_data_sets_and_presets():
    (problem,) = look("camvit").problems
    assert "did you mean 'camvid'?" in problem
    (problem,) = look("airsim_to_camvit").problems
    assert "did you mean the preset 'airsim_to_camvid'?" in problem


def test_the_same_images_trained_and_judged(streets):
    found = check(str(config_file(streets, streets, f"{streets}:train")))[0]
    assert any(f"{streets}:train is trained on and unseen" in line for line in found.warnings)


def test_a_source_domain_is_not_unseen(streets):
    found = check(str(config_file(streets, streets, f"{streets}:val", "evaluation: {source: false}")))[0]
    assert any("its domain 'streets' is trained on" in line for line in found.warnings)


def test_classes_that_are_judged_only(streets):
    for file in (streets / "labels" / "train").iterdir():
        write_labels(file, np.zeros((32, 48)))
    found = check(str(config_file(streets, streets, f"{streets}:val")))[0]
    assert "classes that are judged but occur in nothing that is trained on: vehicle" in found.warnings


def test_labels_without_a_class(streets):
    write_labels(streets / "labels" / "train" / "1.png", np.full((32, 48), 255))
    found = look(streets)
    assert f"{streets}:train: 1 of 4 images have labels without a class: 1" in found.warnings
    assert found.data[0].ignored == pytest.approx(0.25)
    assert found.all_problems == []


def test_sizes(streets):
    for key, size in (("0", (40, 60)), ("1", (20, 30))):
        Image.new("RGB", size[::-1]).save(streets / "images" / "train" / f"{key}.png")
        write_labels(streets / "labels" / "train" / f"{key}.png", np.zeros(size))
    train = look(streets).data[0]
    assert train.sizes == {"30x20": 1, "48x32": 2, "60x40": 1}
    assert train.median_size == "48x32"


def test_a_sample_says_that_it_is_one(streets):
    found = check(str(streets), SPACE, images=2)[0]
    assert [each.looked_at for each in found.data] == [2, 2]
    assert found.warnings[-1].startswith("only a part of the images was looked at")


def test_run_folder_and_preset(finished_run):
    found = check(str(finished_run.path))[0]
    assert [(each.name, each.use) for each in found.data] == [
        ("world:clear", "trained on"),
        ("world:clear", "judged on"),
        ("world:night", "unseen"),
    ]
    assert found.all_problems == []


def test_bad_configuration_is_raised(streets):
    with pytest.raises(ConfigError, match="did you mean 'label_space'"):
        check(str(streets), {"label_spaces": "street7"})


def test_long_lists_of_problems_are_cut(street_folder):
    root = street_folder(images=13)
    for file in (root / "labels" / "train").iterdir():
        file.write_bytes(b"")
    lines = list(problem_lines(look(root)))
    assert len(lines) == 11
    assert lines[-1] == f"{root}:train: and 3 more"


class Page(HTMLParser):
    """Counts pictures, collects text, and notes what would be loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures, self.foreign, self.text = 0, [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        source = dict(attrs).get("src") or dict(attrs).get("href")
        self.pictures += tag == "img"
        if tag == "script" or (source and not source.startswith("data:")):
            self.foreign.append((tag, source))

    def handle_data(self, text):
        self.text += text


def test_command_writes_table_file_and_page(streets, tmp_path):
    (streets / "labels" / "train" / "3.png").write_bytes(b"no image")
    arguments = ["check", str(streets), "label_space=street7", "--out", str(tmp_path / "out"), "--workers", "0"]
    result = CliRunner().invoke(data, arguments, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert f"problem: {streets}/labels/train/3.png: broken image" in result.output
    assert "1 problem would stop a training" in result.output
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert found["ok"] is False
    assert found["data"][0]["images"] == 4
    page = Page((tmp_path / "out" / "check.html").read_text())
    assert page.foreign == []
    assert page.pictures == 2 * (3 + 4)  # with labels; one cannot be read
    assert "3.png: broken image" in page.text


def test_command_on_sound_data(streets):
    result = CliRunner().invoke(data, ["check", f"{streets}:val", "label_space=street7", "--workers", "0"])
    assert result.exit_code == 0
    assert "nothing here would stop a training" in result.output


def test_overlay():
    space = label_space("street7")
    labels = np.array([[0, 255]], np.uint8)
    painted = overlay(np.full((1, 2, 3), 100, np.uint8), labels, space)
    np.testing.assert_allclose(painted[0, 0], 45 + 0.55 * space.colours[0], atol=0.51)
    np.testing.assert_array_equal(painted[0, 1], [45, 45, 45])


def test_bars_are_logarithmic():
    assert [bar_length(share) for share in (0, 1, 1e-5, 1e-9)] == [0, 1, 0.02, 0.02]
    assert bar_length(0.1) - bar_length(0.01) == pytest.approx(bar_length(0.01) - bar_length(0.001))
