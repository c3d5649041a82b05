"""`--to model`: the folder in the hands of somebody who has transformers and nothing of ours."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import (
    CONFIG_MAPPING,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    PreTrainedModel,
)

import minorkey
from minorkey.export.run import export_run
from minorkey.models.pyramid import PyramidBackbone, PyramidConfig
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.predictor import Predictor


def shapes(file: Path) -> dict[str, list[int]]:
    with safe_open(file, framework="pt") as tensors:
        return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118


VIT = "Dinov2Backbone"
MASKS = {"channels": 32, "queries": 6, "points": 50, "decoder_layers": 2, "encoder_layers": 1}
CASES = {
    # name: backbone, head, method, the classes that the card's code loads
    "vit_semfpn": (None, "semfpn", "soma", f"SemanticFpnForSemanticSegmentation {VIT}"),
    "vit_linear": (None, "linear", "full", f"LinearForSemanticSegmentation {VIT}"),
    "vit_upernet": (None, "upernet", "frozen", f"PyramidUperNetForSemanticSegmentation {VIT}"),
    "vit_segformer": (None, "segformer", "frozen", f"MlpForSemanticSegmentation {VIT}"),
    "vit_mask2former": (None, "mask2former", "soma", f"PyramidMask2FormerForUniversalSegmentation {VIT}"),
    "swin_mask2former": ("swin", "mask2former", "frozen", "Mask2FormerForUniversalSegmentation SwinBackbone"),
    "vit_eomt": (None, "eomt", "soma", "EomtForUniversalSegmentation"),
    "swin_semfpn": ("swin", "semfpn", "full", "SemanticFpnForSemanticSegmentation SwinBackbone"),
    "swin_upernet": ("swin", "upernet", "full", "UperNetForSemanticSegmentation SwinBackbone"),
    "convnext_upernet": ("convnext", "upernet", "full", "PyramidUperNetForSemanticSegmentation ConvNextBackbone"),
}


@pytest.fixture(scope="module")
def cases(trained, hierarchical, backbone_folder, expect, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The export of every case."""
    folders = {}
    for name, (backbone, head, method, _) in CASES.items():
        base = {"name": str(hierarchical(backbone) if backbone else backbone_folder)}
        if head == "eomt":
            base["image_size"] = 32
        run = trained(
            head={"name": head, **(MASKS if head in ("mask2former", "eomt") else {"channels": 8})},
            backbone=base,
            method=method,
            evaluation={"pictures": 0, "window": [32, 32], "stride": [32, 32]} if head == "eomt" else {"pictures": 0},
        )
        above = tmp_path_factory.mktemp(name)
        expect(run, above)
        (above / "run.txt").write_text(str(run.path))
        folders[name] = export_run(run.path, "model", out=above / "out").folder
    return folders


def test_every_card_loads_the_same_model_without_minorkey(cases, run_cards) -> None:
    assert dict(zip(CASES, run_cards(*cases.values()), strict=True)) == {name: case[3] for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_code_lies_beside_the_weights_only_where_transformers_lacks_a_class(name: str, cases: dict[str, Path]) -> None:
    stock = name in (
        "swin_upernet",
        "swin_mask2former",
        "vit_eomt",
    )  # ConvNeXt rounds sides down where training rounds them up
    assert (not list(cases[name].glob("*.py"))) == stock
    assert ("trust_remote_code" not in (cases[name] / "README.md").read_text()) == stock


@pytest.fixture(scope="module")
def exported(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's SoMA run, exported; read only."""
    return export_run(finished_run.path, "model", out=tmp_path_factory.mktemp("exported") / "out").folder


def test_the_backbone_is_the_pretrained_one_but_for_its_values(exported: Path, backbone_folder: Path) -> None:
    base, adapted = backbone_folder / "model.safetensors", exported / "backbone" / "model.safetensors"
    assert shapes(adapted) == shapes(base)
    with safe_open(base, framework="pt") as before, safe_open(adapted, framework="pt") as after:
        changed = [k for k in before.keys() if not torch.equal(before.get_tensor(k), after.get_tensor(k))]  # noqa: SIM118
    assert changed, "training must have changed something"


def test_nothing_of_an_adapter_is_left(exported: Path) -> None:
    assert not [name for name in shapes(exported / "model.safetensors") if "lora" in name or "base_layer" in name]


def test_images_become_the_label_maps_of_the_run(exported: Path, finished_run: RunFolder) -> None:
    predictor = minorkey.load(finished_run.path, device="cpu")
    picture = torch.randint(0, 256, (40, 56, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    processor = AutoImageProcessor.from_pretrained(exported)
    # minorkey is imported here: its own classes are taken, and the copies in the folder are left alone.
    model = AutoModelForSemanticSegmentation.from_pretrained(exported, trust_remote_code=True).eval()
    assert type(model).__module__ == "minorkey.models.heads.segmentation.semfpn"
    with torch.no_grad():
        outputs = model(**processor(picture, return_tensors="pt"))
    (labels,) = processor.post_process_semantic_segmentation(outputs, [picture.shape[:2]])
    agreement = (labels.numpy() == predictor.predict(picture).labels).mean()
    assert agreement > 0.999  # rounding of the preprocessing may turn a pixel
    assert model.config.id2label == dict(enumerate(predictor.space.classes))
    assert model.config.label2id["road"] == 0


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("P", "png"), ("RGBA", "png"), ("CMYK", "jpg")])
def test_photographs_of_other_kinds_become_those_of_the_run(exported, finished_run, mode, suffix, tmp_path) -> None:
    file, exif = tmp_path / f"photo.{suffix}", Image.Exif()
    exif[0x112] = 6  # to be turned
    image = Image.fromarray(random_picture(40, 56)).convert(mode)
    if mode == "RGBA":
        image.putalpha(10)
    image.save(file, exif=exif)
    processor = AutoImageProcessor.from_pretrained(exported)
    model = AutoModelForSemanticSegmentation.from_pretrained(exported, trust_remote_code=True).eval()
    upright = ImageOps.exif_transpose(Image.open(file))
    assert 'PIL.ImageOps.exif_transpose(PIL.Image.open(file)).convert("RGB")' in (exported / "README.md").read_text()
    expected = minorkey.load(finished_run.path, device="cpu").predict(file).labels
    for given in [upright.convert("RGB"), *([] if mode == "RGBA" else [upright])]:
        with torch.no_grad():
            outputs = model(**processor(given, return_tensors="pt"))
        (labels,) = processor.post_process_semantic_segmentation(outputs, [(56, 40)])
        assert (labels.numpy() == expected).mean() > 0.999


def random_picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run_of(export: Path) -> Predictor:
    """The run behind one of the `cases`."""
    return minorkey.load((export.parent / "run.txt").read_text(), device="cpu")


def opinionated(model: PreTrainedModel) -> None:
    """Give queries classes and masks of their own: after two steps of training all agree everywhere."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if name in ("query.weight", "class_predictor.weight") or name.endswith("queries_features.weight"):
            parameter.data = 5 * torch.randn(parameter.shape, generator=generator)
        elif "mask_embedder" in name or "mask_head" in name:
            parameter.data *= 4


def test_masks_become_the_label_maps_of_the_run(cases: dict[str, Path]) -> None:
    folder, picture = cases["swin_mask2former"], random_picture(64, 96)
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code.replace('folder = "."', f"folder = {str(folder)!r}"), found)
    predictor = run_of(folder)
    opinionated(found["model"])
    opinionated(predictor.model)
    with torch.no_grad():
        outputs = found["model"](**found["processor"](picture, return_tensors="pt"))
    expected = predictor.predict(picture).labels
    assert len(np.unique(expected)) > 1
    assert (found["label_maps"](outputs, (64, 96))[0].numpy() == expected).mean() > 0.999


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (64, 32)])
def test_images_cut_by_the_processor_become_the_label_maps_of_the_run(
    size: tuple[int, int], cases: dict[str, Path]
) -> None:
    folder, picture = cases["vit_eomt"], random_picture(*size)
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForUniversalSegmentation.from_pretrained(folder).eval()
    predictor = run_of(folder)
    opinionated(model)
    opinionated(predictor.model)
    with torch.no_grad():
        outputs = model(**processor(picture, return_tensors="pt"))
    (labels,) = processor.post_process_semantic_segmentation(outputs, [size])
    expected = predictor.predict(picture).labels
    assert len(np.unique(expected)) > 1
    assert (labels.numpy() == expected).mean() > 0.999


def test_others_can_read_the_files(exported: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in exported.rglob("*") if file.is_file()} == {0o644}


def test_no_file_tells_of_this_machine(exported: Path, backbone_folder: Path, finished_run: RunFolder) -> None:
    for file in exported.rglob("*"):
        if file.suffix in (".json", ".md", ".py"):
            text = file.read_text()
            assert str(backbone_folder.parent) not in text, file
            assert str(finished_run.path.parent) not in text, file


def test_the_card_is_one_of_the_hub(exported: Path, finished_run: RunFolder) -> None:
    card = ModelCard.load(exported / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "image-segmentation")
    assert card.data.base_model is None, "a local folder is no model of the hub"
    head = finished_run.head
    with safe_open(head, framework="pt") as file:
        assert file.metadata()["base_weights_sha256"] in card.text
    scores = minorkey.ScoreTable.read(finished_run.metrics)
    for score in scores.domains:
        assert f"| {score.domain} | {score.role} | {100 * score.score:.1f} |" in card.text
    assert scores.protocol.describe() in card.text


def test_copies_and_originals_live_in_one_process(cases: dict[str, Path]) -> None:
    expected = load_file(cases["vit_upernet"].parent / "expected.safetensors")
    copy = AutoModelForSemanticSegmentation.from_pretrained(cases["vit_upernet"], trust_remote_code=True).eval()
    assert type(copy).__module__.startswith("transformers_modules.")
    assert type(copy.backbone) is PyramidBackbone
    assert CONFIG_MAPPING["minorkey_pyramid"] is PyramidConfig
    with torch.no_grad():
        assert torch.allclose(copy(expected["image"]).logits, expected["model.logits"], rtol=0, atol=1e-5)
