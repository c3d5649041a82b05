"""Every command with an output, over files of the user's and over results of other runs: they stay as they are."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from minorkey.runs.predict import predict_folder
from minorkey.system.sealed import read_sealed, write_sealed
from minorkey.system.storage import write_text

OURS = {".minorkey.json", ".made"}


def _state(folder):
    """Every file and its content, and that of links."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not OURS & set(path.relative_to(folder).parts)
    }


@pytest.fixture
def photos(tmp_path):
    for index in range(2):
        file = tmp_path / "photos" / f"{index}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 48, 3), 90 * index, np.uint8)).save(file)
    return tmp_path / "photos"


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run.path, tmp_path / "run")


THEIRS = {
    "train, adapter/": (["train", "demo_quick", "--out"], "adapter/notes.txt"),
    "train, config.yaml": (["train", "demo_quick", "--out"], "config.yaml"),
    "train, metrics.json": (["train", "demo_quick", "--out"], "metrics.json"),
    "train, rounds/": (["train", "demo_quick", "--out"], "rounds/1.txt"),
    "evaluate, metrics.json": (["evaluate", "RUN", "--out"], "metrics.json"),
    "evaluate, pictures": (["evaluate", "RUN", "--out"], "figures/samples/a.png"),
    "evaluate, evidence": (["evaluate", "RUN", "--out"], "confusions.safetensors"),
    "evaluate, robustness": (["evaluate", "RUN", "--robustness", "--out"], "robustness.csv"),
    "predict, classes.json": (["predict", "RUN", "PHOTOS", "--out"], "classes.json"),
    "predict, ids/": (["predict", "RUN", "PHOTOS", "--out"], "ids/1.png"),
    "predict, overlays/": (["predict", "RUN", "PHOTOS", "--out"], "overlays/0.jpg"),
    "predict, predictions.html": (["predict", "RUN", "PHOTOS", "--out"], "predictions.html"),
    "spectrum, weights.csv": (["spectrum", "builtin", "--out"], "weights.csv"),
    "spectrum, update.png": (["spectrum", "builtin", "--out"], "update.png"),
    "knock-out, knockout.csv": (["spectrum", "RUN", "--knockout", "--out"], "knockout.csv"),
    "data check, check.json": (["data", "check", "world:clear", "--images", "1", "--out"], "check.json"),
    "demo, report.html": (["demo", "--quick", "--out"], "report.html"),
    "demo, a run": (["demo", "--quick", "--out"], "soma-0/head.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", THEIRS)
def test_files_of_the_user_stay(case, command, finished_run, photos, tmp_path):
    verb, theirs = THEIRS[case]
    out = tmp_path / "out"
    write_text(out / theirs, "the user's own")
    places = {"RUN": finished_run.path, "PHOTOS": photos}
    code, error = command(*(places.get(word, word) for word in verb), out)
    assert (code, (out / theirs).read_text()) == (2, "the user's own")
    assert error.count("\n") == 1
    assert "choose another --out" in error


REPORTED = ["notes.md", "run/head.safetensors", "run/adapter/adapter_model.safetensors", "run", "page.html"]


@pytest.mark.parametrize("file", REPORTED)
def test_a_page_replaces_pages_only(file, command, run, tmp_path):
    if not (tmp_path / file).exists():
        write_text(tmp_path / file, "<html>the user's own</html>")
    before = _state(tmp_path)
    code, error = command("report", run, "--out", tmp_path / file)
    assert (code, _state(tmp_path)) == (2, before)
    assert "no page, figure or table that minorkey wrote" in error


def test_nor_does_a_figure_of_it(command, run, tmp_path):
    write_text(tmp_path / "figures" / "scores.png", "the user's own")
    assert command("report", run, "--out", tmp_path / "page.html")[0] == 2
    assert (tmp_path / "figures" / "scores.png").read_text() == "the user's own"
    assert not (tmp_path / "page.html").exists()


def test_pages_and_evaluations_are_replaced_by_their_like(command, run, tmp_path):
    for _ in range(2):
        assert command("report", run, "--out", tmp_path / "page.html") == (0, "")
        assert command("evaluate", run, "evaluation.images=1", "--out", tmp_path / "again")[0] == 0


@pytest.mark.parametrize("spelling", ["run", "run/../run", "link"])
def test_scores_of_another_kind_do_not_replace_those_of_a_run(spelling, command, run, finished_run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    before = _state(run)
    for judged in (run, finished_run.path):
        code, error = command("evaluate", judged, "evaluation.flip=true", "--out", tmp_path / spelling)
        assert (code, _state(run)) == (2, before)
        assert "choose another --out" in error


def test_results_of_another_model_are_not_called_done(run, photos, console, tmp_path, command):
    out = tmp_path / "out"
    assert predict_folder(run, str(photos), out, console=console).written == 2
    before = _state(out)
    other = shutil.copytree(run, tmp_path / "other")
    content = bytearray((other / "head.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "head.safetensors").write_bytes(content)
    record = read_sealed(other / "training.json")
    write_sealed(record.path, record.values, record.files)
    code, error = command("predict", other, photos, "--out", out)
    assert (code, _state(out)) == (2, before)
    assert "was predicted by another model; choose another --out, or add --overwrite" in error
    assert command("predict", other, photos, "--out", out, "--overwrite")[0] == 0
    assert predict_folder(other, str(photos), out, console=console).skipped == 2
    assert command("predict", run, photos, "--out", out)[0] == 2


def test_nor_are_those_of_another_image(run, photos, console, tmp_path):
    out = tmp_path / "out"
    predict_folder(run, str(photos), out, console=console)
    Image.fromarray(np.full((64, 48, 3), 200, np.uint8)).save(photos / "1.png")
    done = predict_folder(run, str(photos), out, console=console)
    assert (done.written, done.skipped) == (1, 1)
    assert Image.open(out / "ids" / "1.png").size == (48, 64)
    (photos / "1.png").write_text("no image any more")
    done = predict_folder(run, str(photos), out, console=console)
    assert (done.written, done.skipped, len(done.problems)) == (0, 1, 1)
    assert "1.jpg" not in (out / "predictions.html").read_text()


def test_nor_of_another_folder_with_the_same_names(run, photos, console, tmp_path, command):
    """Images of one camera are equally large, and those of an archive equally old."""
    out, others = tmp_path / "out", tmp_path / "others"
    others.mkdir()
    for photo in photos.iterdir():
        photo.rename(photo.with_suffix(".bmp"))
        Image.open(photo.with_suffix(".bmp")).save(photo.with_suffix(".bmp"))
    for photo in photos.iterdir():
        Image.fromarray(255 - np.asarray(Image.open(photo))).save(others / photo.name)
    for photo in (*photos.iterdir(), *others.iterdir()):
        os.utime(photo, (1e9, 1e9))
    assert predict_folder(run, str(photos), out, console=console).written == 2
    before = _state(out)
    code, error = command("predict", run, others, "--out", out)
    assert (code, _state(out)) == (2, before)
    assert f"was predicted of another image, '{photos.resolve()}/" in error
    moved = photos.rename(tmp_path / "moved")
    assert predict_folder(run, str(moved), out, console=console).skipped == 2, "where they lie makes no difference"
    for photo in moved.iterdir():
        (others / photo.name).replace(photo)
    assert predict_folder(run, str(moved), out, console=console, overwrite=True).written == 2


@pytest.mark.parametrize("inside", [".", "predictions", "deep/er"])
def test_results_are_not_taken_for_images(run, photos, console, inside):
    out = photos / inside
    for written, skipped in ((2, 0), (0, 2)):
        done = predict_folder(run, str(photos), out, console=console)
        assert (done.written, done.skipped) == (written, skipped)
    assert predict_folder(run, str(out / "overlays"), photos / "again", console=console).written == 2


def test_a_prediction_that_was_killed_goes_on(run, photos, console, tmp_path):
    out = tmp_path / "out"
    predict_folder(run, str(photos), out, console=console)
    (out / "ids" / "0.png").unlink()
    (record,) = (out / ".made").iterdir()
    record.write_text(record.read_text() + '\n["half a li')
    done = predict_folder(run, str(photos), out, console=console)
    assert (done.written, done.skipped) == (1, 1)
    assert predict_folder(run, str(photos), out, console=console).skipped == 2
