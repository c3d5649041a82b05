"""Validation images that are drawn from a source which has none of its own."""

from pathlib import Path

import exported
import pytest
import yaml
from pydantic import ValidationError
from rich.console import Console

from minorkey.config import resolve
from minorkey.data.readers import HeldOut, SourceOptions, open_datasets, parted
from minorkey.datacheck import check
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space
from minorkey.runs.assemble import open_judged, open_sources

SPACE = label_space("background, foreground")


def keys(reader) -> list[str]:
    return [reader.key(index) for index in range(len(reader))]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three frames of each of four videos, with masks."""
    for video in range(4):
        for frame in range(3):
            exported.photo(tmp_path / "images" / f"video{video}_{frame}.jpg")
            exported.ids_png(tmp_path / "masks" / f"video{video}_{frame}.png", 255 * (exported.LABELS == 1))
    return tmp_path


def test_images_of_a_group_stay_together(videos: Path) -> None:
    (reader,) = open_datasets(str(videos), role="source", label_space=SPACE)
    rest, held = parted(reader, HeldOut(fraction=0.25, by=r"(?P<group>video\d+)_"))
    assert len({key.partition("_")[0] for key in keys(held)}) == 1
    assert (len(rest), len(held)) == (9, 3)
    assert {key.partition("_")[0] for key in keys(held)}.isdisjoint(key.partition("_")[0] for key in keys(rest))
    assert keys(parted(reader, HeldOut(fraction=0.25, by=r"video\d+"))[1]) == keys(held)
    assert keys(parted(reader, HeldOut(fraction="1/12"))[1]) == keys(parted(reader, HeldOut(fraction=0.01))[1])
    drawn = {tuple(keys(parted(reader, HeldOut(fraction=0.25, seed=seed))[1])) for seed in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (HeldOut(by=r"clip\d"), r"image 'video0_0' has nothing that 'clip\\d' finds; mend `validation\.by`$"),
        (
            HeldOut(by="video"),
            r"has 1 groups by 'video', of which 1 would be held out, and 0 left; set another fraction$",
        ),
        (HeldOut(fraction=1), r"has 12 images, of which 12 would be held out, and 0 left"),
    ],
)
def test_what_cannot_be_parted(videos: Path, asked: HeldOut, message: str) -> None:
    (reader,) = open_datasets(str(videos), role="source", label_space=SPACE)
    with pytest.raises(DataError, match=message):
        parted(reader, asked)


def test_a_run_is_judged_on_what_it_is_not_trained_on(videos: Path) -> None:
    source = {"data": str(videos), "validation": {"fraction": 0.25, "by": r"video\d+"}}
    config = resolve(None, {"source": [source], "label_space": "background, foreground", "seed": 3})
    (trained,) = open_sources(config, SPACE).readers
    (judged,) = open_judged(config, SPACE, Console())
    assert (len(trained), len(judged.reader), judged.role) == (9, 3, "source")
    assert sorted(keys(trained) + keys(judged.reader)) == sorted(path.stem for path in (videos / "images").iterdir())
    found, _ = check(str(write(videos, source)))
    assert [(each.use, each.images) for each in found.data] == [("trained on", 9), ("judged on", 3)]
    assert not any("are trained on" in line for line in found.warnings)


def write(folder: Path, source: dict[str, object]) -> Path:
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump({"source": [source], "label_space": "background, foreground"}))
    return file


def test_options() -> None:
    assert SourceOptions.model_validate({"data": "a", "validation": "1/8"}).validation == HeldOut(fraction="1/8")
    with pytest.raises(ValidationError, match=r"'\(' is no regular expression: .*"):
        HeldOut(by="(")
    with pytest.raises(ValidationError, match=r"fraction 2\.0 is not above 0 to 1"):
        SourceOptions.model_validate({"data": "a", "validation": 2.0})
    target = {"data": "b", "validation": 0.1}
    with pytest.raises(ConfigError, match=r"target 'b' has `validation`, but its labels are not looked at"):
        resolve(None, {"source": "a", "target": target, "regime": "self_training", "training": {"steps": 9}})
