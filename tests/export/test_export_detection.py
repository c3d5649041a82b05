"""`--to model` of a detection run: the folder in the hands of somebody who has transformers and nothing of ours."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import minorkey
from minorkey.export.run import export_run
from minorkey.labels import label_space
from minorkey.system.run_folder import RunFolder

# Group norms of 32 groups need two values each, and the coarsest map of a small image is one cell.
SMALL = {"channels": 64, "queries": 20, "encoder_layers": 1, "decoder_layers": 2}
CASES = {
    # name: backbone, head, method, the classes that the card's code loads, whether all are of transformers
    "vit_d_fine": (None, "d_fine", "soma", "PyramidDFineForObjectDetection RTDetrImageProcessorPil", False),
    "vit_deformable": (
        None, "deformable_detr", "frozen",
        "PyramidDeformableDetrForObjectDetection DeformableDetrImageProcessorPil", False,
    ),
    "swin_rt_detr": ("swin", "rt_detr_v2", "full", "RTDetrV2ForObjectDetection RTDetrImageProcessorPil", True),
    "vit_atss": (None, "atss", "soma", "AtssForObjectDetection RTDetrImageProcessorPil", False),
}  # fmt: skip
SIZE = (90, 150)  # no multiples of 32: the code of the card has to fill it up

RUN_CARDS = """
import json
import os
import re
import sys

sys.modules["minorkey"] = None  # it is not installed here

import torch

torch.set_num_threads(1)

for folder in sys.argv[1:]:
    os.chdir(folder)
    (code,) = re.findall(r"```python\\n(.*?)```", open("README.md").read(), re.DOTALL)
    found = {}
    exec(code, found)
    from PIL import Image
    said = found["detect"](Image.open("../image.png"), threshold=0.0)
    values = {name: tensor.tolist() for name, tensor in said.items()}
    names = f"{type(found['model']).__name__} {type(found['processor']).__name__}"
    print(json.dumps({"classes": names, "labels_are": found["model"].config.id2label, **values}))
"""


@pytest.fixture(scope="module")
def cases(
    trained: Callable[..., RunFolder],
    hierarchical: Callable[[str], Path],
    backbone_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[RunFolder, Path]]:
    """Every case's run and export, with an image above it."""
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    folders = {}
    for name, (backbone, head, method, *_) in CASES.items():
        run = trained(
            task="detection",
            label_space="weather7",
            head={"name": head, **SMALL},
            backbone=str(hierarchical(backbone) if backbone else backbone_folder),
            method=method,
        )
        above = tmp_path_factory.mktemp(name)
        Image.fromarray(picture).save(above / "image.png")
        folders[name] = run, export_run(run.path, "model", out=above / "out").folder
    return folders


@pytest.fixture(scope="module")
def told(cases: dict[str, tuple[RunFolder, Path]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the code on each card finds in the image, in a process without minorkey."""
    process = subprocess.run(
        [sys.executable, "-c", RUN_CARDS, *(str(folder) for _, folder in cases.values())],
        capture_output=True, text=True, check=False,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path_factory.mktemp("modules"))},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    return dict(zip(cases, map(json.loads, process.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_card_finds_the_boxes_of_the_run_without_minorkey(
    name: str, cases: dict[str, tuple[RunFolder, Path]], told: dict[str, Any]
) -> None:
    run, folder = cases[name]
    expected = minorkey.load(run.path, device="cpu").predict(folder.parent / "image.png")
    found = told[name]
    kept, boxes = len(found["scores"]), np.array(found["boxes"])
    assert 3 < kept <= (100 if name == "vit_deformable" else 20), "the stock functions return so many"
    height, width = SIZE
    assert boxes.min() >= 0
    assert (boxes <= [width, height, width, height]).all(), "they end where the image does"
    assert np.allclose(found["scores"], expected.scores[:kept], atol=1e-5)
    assert np.abs(boxes - expected.boxes[:kept]).max() < 0.02, "pixels"
    assert (np.array(found["labels"]) == expected.classes[:kept]).mean() > 0.9, "equal scores may change places"


@pytest.mark.parametrize("name", CASES)
def test_code_lies_beside_the_weights_only_where_transformers_lacks_a_class(
    name: str, cases: dict[str, tuple[RunFolder, Path]], told: dict[str, Any]
) -> None:
    *_, classes, stock = CASES[name]
    assert told[name]["classes"] == classes
    folder = cases[name][1]
    assert (not list(folder.glob("*.py"))) == stock
    assert ("trust_remote_code" not in (folder / "README.md").read_text()) == stock


@pytest.mark.parametrize("name", CASES)
def test_the_card_says_whether_boxes_are_suppressed(name: str, cases: dict[str, tuple[RunFolder, Path]]) -> None:
    text = " ".join((cases[name][1] / "README.md").read_text().split())
    assert ("and 0 where a surer box of the class overlaps this one." in text) == (name == "vit_atss")
    assert ("with no suppression of overlapping boxes." in text) == (name != "vit_atss")


def test_only_what_the_model_is_made_of_lies_beside_it(cases: dict[str, tuple[RunFolder, Path]]) -> None:
    files = {path.stem for path in cases["vit_atss"][1].glob("*.py")}
    parts = {"anchors", "around_backbone", "assign", "detector", "fpn", "head", "losses", "overlap", "suppression"}
    assert files == parts | {"modeling_minorkey", "pyramid", "reduction"}


def test_classes_have_their_names(told: dict[str, Any]) -> None:
    names = label_space("weather7").classes
    assert told["vit_d_fine"]["labels_are"] == {str(index): name for index, name in enumerate(names)}


def test_the_card_is_one_of_the_hub(cases: dict[str, tuple[RunFolder, Path]]) -> None:
    run, folder = cases["vit_d_fine"]
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "object-detection")
    assert "object-detection" in card.data.tags
    assert "semantic-segmentation" not in card.data.tags
    assert "| AP (%) |" in card.text
    assert minorkey.ScoreTable.read(run.metrics).protocol.describe() in card.text


def test_nothing_of_training_is_left(cases: dict[str, tuple[RunFolder, Path]]) -> None:
    for _, folder in cases.values():
        index = (folder / "model.safetensors").read_bytes()
        header = json.loads(index[8 : 8 + int.from_bytes(index[:8], "little")])
        assert not [name for name in header if "lora" in name or "base_layer" in name or "auxiliary" in name]
