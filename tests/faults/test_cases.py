"""Inputs from public bug reports, as their generators write them, with the outcome that is right."""

import runpy
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fault_trials.campaign import import_everything
from fault_trials.child import End, run
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox
from fault_trials.verdict import fault_of

from minorkey.errors import MinorkeyError


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Material:
    import_everything()
    return Material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def case(shared, tmp_path, monkeypatch):
    """`case("01")` writes the input of a case; `case.minorkey(...)` is how a command ends."""
    return Case(shared / "cases", Sandbox(tmp_path / "trial"), monkeypatch)


class Case:
    def __init__(self, generators: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.generators, self.box, self.monkeypatch = generators, box, monkeypatch

    def __call__(self, number: str, *arguments: str) -> None:
        (generator,) = self.generators.glob(f"{number}_*.py")
        self.monkeypatch.setattr(sys, "argv", [str(generator), str(self.box.work / "in"), *arguments])
        runpy.run_path(str(generator), run_name="__main__")

    def minorkey(self, *arguments: object) -> End:
        end = run([str(argument) for argument in arguments], self.box.work)
        assert fault_of(end) == ("", ""), end.text
        return end

    def check(self, folder: str, *settings: str) -> End:
        return self.minorkey("data", "check", f"in/{folder}".rstrip("/"), *settings, "--workers", "0")

    def train(self, material: Material, space: str, *settings: str) -> End:
        return self.minorkey(
            "train", material.config_file("segmentation"), "--source", "in", "unseen=[]", "--out", "out",
            f"label_space=in/{space}", "head=linear", "training.steps=12", "training.checkpoint_every=12",
            "transform.crop=[64,64]", "evaluation.pictures=0", *settings,
        )  # fmt: skip


PIXELS = ("label_space=cityscapes19",)
"""For labels of one class, which would be the only one of a run otherwise."""

BOXES = ("task=detection", "label_space=weather7")


def test_a_batch_without_a_labelled_pixel(case, material):
    case("01")
    assert case.train(material, "two.yaml").code == 0


def test_a_split_that_cannot_be_opened(case):
    case("02")
    for folder, settings in (("seg", ()), ("det", ("task=detection",))):
        end = case.check(folder, *settings)
        assert end.code == 2
        assert "train" in end.out.rpartition("problem: ")[2]


@pytest.mark.parametrize("folder", ["two_bits", "four_bits"])
def test_few_bits_per_pixel(case, folder):
    case("03")
    end = case.check(folder)
    assert end.code == 0
    assert all(name in end.out for name in ("road", "sky", "building"))


@pytest.mark.parametrize("folder", ["swapped", "square", "half_turn", "coco", "voc", "yolo"])
def test_turned_photographs(case, folder):
    case("04")
    assert "EXIF" in case.check(folder, *(BOXES if folder in ("coco", "voc", "yolo") else ())).text


@pytest.mark.parametrize(("folder", "code", "said"), [
    ("float_ids", 0, ""), ("space", 0, ""), ("minus_one", 0, ""), ("empty_box", 2, "drop_empty"),
])  # fmt: skip
def test_coco_as_tools_write_it(case, folder, code, said):
    case("06")
    end = case.check(folder, *BOXES)
    assert end.code == code, end.out
    assert said in end.text


def test_the_same_photograph_as_path_and_object(case, material):
    case("07")
    files, folder = sorted((case.box.work / "in").iterdir()), material.run("segmentation")

    def do() -> None:
        import numpy as np
        from PIL import Image

        import minorkey

        model = minorkey.load(folder)
        for file in files:
            path, image = model.predict(file).labels, model.predict(Image.open(file)).labels
            assert path.shape == image.shape
            assert np.array_equal(path, image)

    assert files
    assert run(do, case.box.work).code == 0


def test_one_class(case, material):
    case("08")
    end = case.train(material, "one.yaml", "training.steps=3")
    assert end.code == 2 or "one class" in end.text


@pytest.mark.parametrize(("folder", "settings"), [
    ("composed", PIXELS), ("shouting", PIXELS), ("loop", PIXELS), ("spaces", BOXES), ("bom", BOXES),
])  # fmt: skip
def test_names_on_disk(case, folder, settings):
    case("09")
    end = case.check(folder, *settings)
    assert end.code == 0, end.out


def test_hidden_companions_are_passed_over(case, material):
    case("09")
    assert case.minorkey("predict", material.run("detection"), "in/hidden", "--out", "out").code == 0
    assert [file.name for file in case.box.work.glob("out/overlays/*")] == ["a.jpg"]


@pytest.mark.parametrize("folder", ["renamed", "pattern"])
def test_labels_that_went_through_jpeg(case, folder):
    case("10")
    assert case.check(folder).code == 2


def test_a_class_that_is_only_predicted():
    import numpy as np

    from minorkey.tasks.segmentation.confusion import confusion_matrix, mean_iou

    truth = np.zeros((10, 10), int)
    truth[5:] = 1
    found = truth.copy()
    found[0] = 2
    assert mean_iou(confusion_matrix(found, truth, 3)) == pytest.approx((0.8 + 1 + 0) / 3)


def test_a_layer_that_cannot_learn_is_said():
    from torch import nn

    import minorkey

    network = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    network[1].weight.data.zero_()
    method = minorkey.MethodOptions(
        name="soma", rank=4, first_block=0, layers={"fc1": ["0"], "fc2": ["1"]}, train_bias=False
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with suppress(MinorkeyError):  # refused, which says it too
            minorkey.attach(network, method)
            _assert_learns_or_is_said(network, said)


def _assert_learns_or_is_said(network: Any, said: list[Any]) -> None:
    import torch

    moved = [p for name, p in network.named_parameters() if p.requires_grad and name.startswith("1.")]
    loss = (network(torch.randn(3, 16)) - 1).square().mean()
    learns = any(g is not None and g.any() for g in torch.autograd.grad(loss, moved, allow_unused=True))
    assert learns or any("1" in str(warning.message) for warning in said)
