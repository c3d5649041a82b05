"""What fails once a training is done, or while its data say little, loses nothing."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minorkey import train
from minorkey.errors import DataError
from minorkey.runs.api import resume

IGNORED = 255


@dataclass
class Data:
    """Noise in two classes; the labels of one image of each split are in `label`."""

    folder: Path

    def label(self, split: str, name: str) -> Path:
        return self.folder / "labels" / split / f"{name}.png"


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    made = Data(tmp_path / "noise")
    for split in ("train", "val"):
        for name in "ab":
            image = made.folder / "images" / split / f"{name}.png"
            for file in (image, made.label(split, name)):
                file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)).save(image)
            labels = np.repeat([[0], [1]], 16, axis=0).repeat(48, axis=1).astype(np.uint8)
            Image.fromarray(labels).save(made.label(split, name))
    (made.folder / "dataset.yaml").write_text("ids: {0: road, 1: sky, 255: ignore}\nignores: [ignore]\n")
    return made


def _train(data, out, **training):
    return train(
        source=str(data.folder),
        label_space="road, sky",
        head={"name": "linear"},
        transform={"crop": (32, 32)},
        training={"steps": 2, "batch_size": 1, "log_every": 1, "workers": 0, **training},
        evaluation={"pictures": 0},
        out=out,
    )


def _ignore(file: Path) -> None:
    Image.fromarray(np.full((32, 48), IGNORED, np.uint8)).save(file)


def test_an_evaluation_that_fails_says_that_the_training_is_saved(data, tmp_path):
    out, label = tmp_path / "run", data.label("val", "b")
    whole = label.read_bytes()
    label.write_bytes(whole[:40])
    with pytest.raises(DataError, match=r"b\.png.*\. The training is saved; .* `minorkey train --resume .*run` judges"):
        _train(data, out)
    weights = (out / "head.safetensors").read_bytes()
    label.write_bytes(whole)
    assert resume(out).domains[0].domain == "noise"
    assert (out / "head.safetensors").read_bytes() == weights


def test_a_run_whose_labels_are_all_ignored_ends_with_a_score_of_none(data, tmp_path):
    """In both batches of a step as well; nothing but the decay of the weights moves them."""
    for split in ("train", "val"):
        for name in "ab":
            _ignore(data.label(split, name))
    scores = _train(data, tmp_path / "run", accumulate=2)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in log if "loss" in line] == [0, 0]
    assert (scores.domains, scores.unseen_mean) == ([], None)
    assert [(each.domain, each.images, each.score) for each in scores.unscored] == [("noise", 2, None)]


def test_weights_cannot_be_chosen_on_domains_without_labels(data, tmp_path):
    for name in "ab":
        _ignore(data.label("val", name))
    with pytest.raises(DataError, match=r"training.choose is best_source, but nothing .* is labelled in any domain"):
        _train(data, tmp_path / "run", choose="best_source", judge_every=1)
