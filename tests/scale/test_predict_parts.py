from pathlib import Path

import numpy as np
import pytest
from launching import torchrun
from PIL import Image

from minorkey.errors import ConfigError
from minorkey.runs.predict import parse_shard, predict_folder


@pytest.fixture
def images(tmp_path) -> Path:
    """Seven images in two folders."""
    for index in range(7):
        file = tmp_path / "photos" / ("day" if index % 2 else "night") / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 48, 3), 30 * index, np.uint8)).save(file)
    return tmp_path / "photos"


def _written(out: Path) -> dict[str, int]:
    """When each id map was written."""
    return {path.relative_to(out / "ids").as_posix(): path.stat().st_mtime_ns for path in (out / "ids").rglob("*.png")}


def test_jobs_that_know_nothing_of_each_other_do_every_image_once(finished_run, images, console, tmp_path):
    out = tmp_path / "out"
    counts = []
    for index in (3, 1, 2):
        done = predict_folder(finished_run.path, str(images), out, shard=(index, 3), console=console)
        counts.append((done.written, done.skipped))
    assert counts == [(2, 0), (3, 0), (2, 0)]
    assert len(_written(out)) == 7
    whole = tmp_path / "whole"
    assert predict_folder(finished_run.path, str(images), whole, console=console).written == 7
    for name in _written(whole):
        assert (whole / "ids" / name).read_bytes() == (out / "ids" / name).read_bytes()
    assert (whole / "classes.json").read_bytes() == (out / "classes.json").read_bytes()


def test_an_interrupted_job_goes_on(finished_run, images, console, tmp_path):
    out = tmp_path / "out"
    predict_folder(finished_run.path, str(images), out, shard=(1, 2), console=console)
    before = _written(out)
    done = predict_folder(finished_run.path, str(images), out, console=console)
    assert (done.written, done.skipped) == (3, 4)
    assert {name: time for name, time in _written(out).items() if name in before} == before


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2", ""])
def test_shards_that_are_none(text):
    with pytest.raises(ConfigError, match=r"expected I/N with I from 1 to N, e\.g\. 2/8"):
        parse_shard(text)


def test_a_shard_on_the_command_line(finished_run, images, command, tmp_path):
    code, error = command("predict", finished_run.path, images, "--out", tmp_path / "out", "--shard", "2/7")
    assert (code, len(_written(tmp_path / "out"))) == (0, 1)
    code, error = command("predict", finished_run.path, images, "--out", tmp_path / "out", "--shard", "8/7")
    assert code == 2
    assert "shard '8/7' is none" in error


def test_torchrun_predicts_all_but_the_broken_image_and_says_so_once(finished_run, images, commands, tmp_path):
    (images / "day" / "broken.png").write_text("no image")
    asked = ("-m", "minorkey", "predict", finished_run.path, images, "--out", tmp_path / "out")
    launched = torchrun(tmp_path, *asked, warm=commands)
    assert len(_written(tmp_path / "out")) == 7
    assert launched.stdout == [f"7 images in '{tmp_path / 'out'}', 0 were there already\n", ""]
    (line,) = [line for text in launched.stderr for line in text.splitlines() if line.startswith("minorkey:")]
    assert str(images / "day" / "broken.png") in line
    assert launched.code != 0
    assert "exitcode  : 2" in launched.report
