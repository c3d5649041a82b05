"""`export --to onnx` of a run: the file in the place of the run, in the hands of others, and what is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import minorkey
from minorkey.errors import ConfigError, DataError, ImageSizeError, ModelError
from minorkey.export.deploy_options import DeployOptions, parse_size
from minorkey.export.graph import as_onnx, traced
from minorkey.export.run import export_run
from minorkey.runs.deployed import deployed_config
from minorkey.runs.deployed_info import KEY
from minorkey.runs.load import predictor_of_session
from minorkey.runs.onnx_session import OnnxSession
from minorkey.system.run_folder import RunFolder

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

BOXES = {"task": "detection", "label_space": "weather7", "world": {"size": [128, 64]}, "transform": {"crop": [64, 64]}}
ATSS = {"head": {"name": "atss", "channels": 32, "queries": 30}, **BOXES}


@pytest.fixture(scope="module")
def deployed(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(finished_run.path, "onnx", out=tmp_path_factory.mktemp("deployed") / "onnx").folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = np.random.default_rng(0).integers(0, 256, (37, 61, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def script(folder: Path, *images: Path) -> str:
    """What predict.py prints."""
    process = run_script(folder, *images)
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def run_script(folder: Path, *images: Path) -> subprocess.CompletedProcess[str]:
    """Run predict.py beside the first image, where neither minorkey nor torch can be imported."""
    alone = "import runpy, sys; sys.modules.update(dict.fromkeys(('minorkey', 'torch', 'transformers'))); "
    path = str(folder / "predict.py")
    run = f"sys.argv[1:] = {[str(image) for image in images]!r}; runpy.run_path({path!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", alone + run], capture_output=True, text=True, cwd=images[0].parent, check=False
    )


def test_the_file_predicts_as_its_run_at_any_size(deployed: Path, finished_run: RunFolder, photo: Path) -> None:
    of_file, of_run = minorkey.load(deployed / "model.onnx"), minorkey.load(finished_run.path, device="cpu")
    assert of_file.protocol == of_run.protocol
    assert of_file.space.classes == of_run.space.classes
    for model in (of_file, of_run):
        model.protocol = model.protocol.model_copy(update={"window": (32, 48), "stride": (16, 32), "flip": True})
    given, wanted = (model.predict(photo, probabilities=True).probabilities for model in (of_file, of_run))
    assert np.abs(given - wanted).max() <= 1e-4


def test_the_file_is_judged_as_its_run(deployed: Path, finished_run: RunFolder, tmp_path: Path) -> None:
    unseen = ["world:night", "world:fog"]
    ours = minorkey.evaluate(deployed / "model.onnx", unseen=unseen, out=tmp_path / "file")
    theirs = minorkey.evaluate(finished_run.path, unseen=unseen, out=tmp_path / "run", evaluation={"source": False})
    assert [score.domain for score in ours.domains] == ["night", "fog"]
    assert [score.score for score in ours.domains] == pytest.approx([s.score for s in theirs.domains], abs=0.1)
    assert ours.protocol.id() == theirs.protocol.id()
    assert ours.run == "soma (model.onnx, fp32)"
    assert (tmp_path / "file" / "metrics.json").is_file()


def test_the_command_line_takes_the_file(deployed: Path, photo: Path, command: Any, tmp_path: Path) -> None:
    file = deployed / "model.onnx"
    code, said = command("predict", file, photo, "--out", tmp_path / "ids")
    assert code == 0, said
    assert (tmp_path / "ids" / "ids" / "photo.png").is_file()
    code, said = command("evaluate", file, "evaluation.images=1")  # on what its run was judged
    assert code == 0, said
    (scores,) = (deployed.parent / "onnx-evaluations").glob("*/metrics.json")
    assert json.loads(scores.read_text())["domains"][0]["domain"] == "night"
    code, said = command("evaluate", file, "--unseen", "cityscapes:test", "--submission", "cityscapes")
    assert code == 2
    assert "is a deployed file; predictions for a test server are written from its run" in said


def test_what_a_file_cannot_change(deployed: Path) -> None:
    file = deployed / "model.onnx"
    with pytest.raises(ConfigError, match=r"evaluation.precision is how a run computes; '.*' computes in fp32"):
        minorkey.evaluate(file, evaluation={"precision": "bf16"})
    with pytest.raises(ConfigError, match="'backbone' was fixed by the training; evaluate takes data_root, evaluation"):
        minorkey.evaluate(file, backbone="builtin")
    session = OnnxSession(file, "cpu")
    config = deployed_config(session.info, file, {"evaluation": {"batch_size": 1}})
    assert predictor_of_session(session, config).window_batch == 1


def test_windows_that_a_head_has_to_have_are_those_of_the_file(
    trained: Callable[..., RunFolder], backbone_folder: Path, photo: Path, tmp_path: Path
) -> None:
    run = trained(
        head={"name": "eomt", "channels": 32, "queries": 6, "points": 50},
        backbone={"name": str(backbone_folder), "image_size": 32},
        method="soma",
    )
    file = export_run(run.path, "onnx", out=tmp_path / "out").folder / "model.onnx"
    given, wanted = (minorkey.load(place, device="cpu") for place in (file, run.path))
    assert given.protocol == wanted.protocol
    assert given.protocol.window == (32, 32)
    difference = given.predict(photo, probabilities=True).probabilities - wanted.predict(photo, True).probabilities
    assert np.abs(difference).max() <= 1e-4


def test_what_is_in_the_folder(deployed: Path, finished_run: RunFolder) -> None:
    about = json.loads((deployed / "metadata.json").read_text())
    model = onnx.load(str(deployed / "model.onnx"))
    assert json.loads({p.key: p.value for p in model.metadata_props}[KEY]) == about
    assert [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch", "", "height", "width",
    ]  # fmt: skip
    assert (about["size"], about["opset"], about["computed"], about["channels"]) == (None, 18, "fp32", "RGB")
    assert about["judged_by"]["unseen"] == ["world:night"]
    card = (deployed / "README.md").read_text()
    assert "on images of any size and in batches of any number." in card
    assert "differ from the run's by" in card
    for file in deployed.iterdir():
        assert str(finished_run.path.parent).encode() not in file.read_bytes()


def test_the_script_needs_nothing_of_ours(deployed: Path, finished_run: RunFolder, photo: Path) -> None:
    said = script(deployed, photo)
    assert said.startswith(f"{photo}: photo-labels.png, ")
    labels = np.asarray(Image.open(photo.with_name("photo-labels.png")))
    wanted = minorkey.load(finished_run.path, device="cpu").predict(photo).labels
    assert (labels == wanted).mean() > 0.999


def test_the_script_replaces_nothing_and_reads_16_bits(deployed: Path, finished_run: RunFolder, photo: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 65536, (37, 61)).astype(np.uint16)
    deep, twin = photo.with_name("deep.png"), photo.parent / "other" / "deep.png"
    twin.parent.mkdir()
    for file in (deep, twin):
        Image.fromarray(grey).save(file)
    (broken := photo.with_name("broken.png")).write_text("no image")
    (kept := photo.with_name("photo-labels.png")).write_text("mine")
    process = run_script(deployed, photo, broken, deep, twin)
    assert process.returncode == 1
    said = process.stderr.splitlines()
    assert said[0].startswith(f"{photo}: 'photo-labels.png' is there already")
    assert said[1].startswith(f"{broken}: cannot identify")
    assert said[2].startswith(f"{twin}: 'deep-labels.png' is there already")
    assert kept.read_text() == "mine"
    assert process.stdout.startswith(f"{deep}: deep-labels.png, ")
    wanted = minorkey.load(finished_run.path, device="cpu").predict(deep).labels
    assert (np.asarray(Image.open(photo.with_name("deep-labels.png"))) == wanted).mean() > 0.999


def test_options_of_a_file(finished_run: RunFolder, photo: Path, tmp_path: Path) -> None:
    deploy = DeployOptions(half=True, preprocess=True, coarse=True, size=(40, 64), opset=20)
    folder = export_run(finished_run.path, "onnx", out=tmp_path / "out", deploy=deploy).folder
    model = onnx.load(str(folder / "model.onnx"))
    (given,), (weights, *_) = model.graph.input, [w for w in model.graph.initializer if len(w.dims) == 4]
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim][1:] == [40, 64, 3]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert weights.data_type == onnx.TensorProto.FLOAT16
    assert model.opset_import[0].version == 20
    given, wanted = minorkey.load(folder / "model.onnx"), minorkey.load(finished_run.path, device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    assert (given.predict(image).labels == wanted.predict(image).labels).mean() > 0.98
    assert given.predict(photo).labels.shape == (37, 61)  # it lay on a canvas
    assert script(folder, photo).startswith(f"{photo}: ")
    by_script = np.asarray(Image.open(photo.with_name("photo-labels.png")))
    assert (by_script == given.predict(photo).labels).mean() > 0.98, "scores of a smaller map are interpolated"
    refused = "takes images of at most 64x40, and this one has 61x50; export again with --size 50x61$"
    with pytest.raises(ImageSizeError, match=refused):
        given.predict(np.zeros((50, 61, 3), np.uint8))
    given.crop = (16, 16)
    with pytest.raises(ImageSizeError, match="the file takes 64x40, and an image of 161x50 would be cut into windows"):
        given.predict(np.zeros((50, 161, 3), np.uint8))
    session = OnnxSession(folder / "model.onnx", "cpu")
    for crop, only in {(40, 64): None, (32, 64): (40, 64)}.items():
        config = deployed_config(session.info, session.file, {"transform": {"crop": list(crop)}})
        assert predictor_of_session(session, config).only == only


@pytest.mark.thorough
def test_eight_bits(finished_run: RunFolder, tmp_path: Path) -> None:
    deploy = DeployOptions(int8=True, calibrate=("world:clear", "world:night"), images=2, size=(32, 32))
    folder = export_run(finished_run.path, "onnx", out=tmp_path / "out", deploy=deploy).folder
    operators = {node.op_type for node in onnx.load(str(folder / "model.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    # The images that ranges were measured on are larger than the file takes; they were made smaller.
    judged = {"unseen": "world:fog", "evaluation": {"resize": 32}}
    scores = minorkey.evaluate(folder / "model.onnx", out=tmp_path / "scores", **judged)
    assert scores.run == "soma (model.onnx, int8)"


def test_a_detector(trained: Callable[..., RunFolder], photo: Path, tmp_path: Path) -> None:
    run = trained(**ATSS)
    folder = export_run(run.path, "onnx", out=tmp_path / "out").folder
    given, wanted = (minorkey.load(place, device="cpu").predict(photo) for place in (folder / "model.onnx", run.path))
    # The file's canvas is that of the run's images, the run's that of this one: the same boxes on more of the mean.
    assert len(given.boxes)
    assert len(wanted.boxes)
    image = minorkey.world.render(0, 0, "clear", size=(128, 64)).image
    given, wanted = (minorkey.load(p, device="cpu").predict(image) for p in (folder / "model.onnx", run.path))
    np.testing.assert_allclose(given.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(given.boxes, wanted.boxes, atol=0.05)
    with pytest.raises(ConfigError, match=r"evaluation.detections is 101, but '.*' gives 100 boxes of an image"):
        minorkey.evaluate(folder / "model.onnx", evaluation={"detections": 101})
    text = (folder / "predict.py").read_text()
    (folder / "predict.py").write_text(text.replace("score >= 0.3", "score >= 0"))
    assert " at " in script(folder, photo)
    assert photo.with_name("photo-boxes.png").is_file()


def test_a_graph_of_torch(finished_run: RunFolder, tmp_path: Path) -> None:
    exported = export_run(finished_run.path, "torch", out=tmp_path / "out")
    found: dict[str, Any] = {}
    exec(exported.code, found)
    with torch.no_grad():
        wanted = minorkey.load(finished_run.path, device="cpu").model(found["images"]).logits
    torch.testing.assert_close(found["outputs"]["scores"], wanted, atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="--half is for --to onnx"):
        export_run(finished_run.path, "torch", out=tmp_path / "out", deploy=DeployOptions(half=True))


def test_openvino(finished_run: RunFolder, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    exported = export_run(finished_run.path, "openvino", out=tmp_path / "out")
    found: dict[str, Any] = {}
    exec(exported.code, found)
    with torch.no_grad():
        images = torch.from_numpy(found["images"]).repeat(
            2, 1, 1, 1
        )  # of one, a map of a cell has nothing to normalise
        wanted = minorkey.load(finished_run.path, device="cpu").model(images).logits[:1]
    assert np.abs(found["outputs"]["scores"] - wanted.numpy()).max() <= 1e-3


class Unheld(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.special.bessel_j0(images),)


class Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (images if images.mean() > 0 else -images,)


def test_an_operator_that_onnx_cannot_hold() -> None:
    program = traced(Unheld(), torch.zeros(2, 3, 8, 8), any_size=False, gathers=False)
    with pytest.raises(ConfigError, match=r"ONNX opset 18 cannot hold the network \(.*bessel_j0.*--to torch"):
        as_onnx(program, ["scores"], 18)


def test_a_network_that_cannot_be_followed() -> None:
    with pytest.raises(ModelError, match=r"the network cannot be followed by torch.export \(.*--to model"):
        traced(Branching(), torch.zeros(2, 3, 8, 8), any_size=False, gathers=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--opset", "9"], "--opset 9 is none that is written here; expected 18 to 23"),
        (["--half", "--int8", "--calibrate", "world:fog"], "--half and --int8 are two precisions"),
        (["--int8"], "--int8 needs images to measure ranges on; give --calibrate DATASET"),
        (["--calibrate", "world:fog"], "--calibrate is for --int8"),
        (["--int8", "--calibrate", " world:fog, "], "--calibrate has images of one domain, fog"),
        (["--int8", "--calibrate", "world:fog"], "--calibrate has images of one domain, fog"),
        (["--size", "12"], "--size 12 is none; expected HEIGHTxWIDTH"),
    ],
)
def test_options_that_do_not_go(
    options: list[str], words: str, command: Any, finished_run: RunFolder, tmp_path: Path
) -> None:
    code, said = command("export", finished_run.path, "--to", "onnx", "--out", tmp_path / "out", *options)
    assert code == 2
    assert words in said
    assert not (tmp_path / "out").exists()


def test_options_of_deployed_files_are_for_them(finished_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--gathers is for a file to deploy; give --to onnx"):
        export_run(finished_run.path, "model", out=tmp_path / "out", deploy=DeployOptions(gathers=True))
    assert parse_size("512x1024") == (512, 1024)


def test_files_that_are_none(deployed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.onnx"
    with pytest.raises(DataError, match=r"no file '.*'; give one of `minorkey export --to onnx`"):
        minorkey.load(file)
    file.write_bytes(b"no graph")
    with pytest.raises(DataError, match="cannot be read as ONNX"):
        minorkey.load(file)
    model = onnx.load(str(deployed / "model.onnx"))
    del model.metadata_props[:]
    onnx.save(model, str(file))
    with pytest.raises(DataError, match="has no metadata of minorkey"):
        minorkey.load(file)
    onnx.helper.set_model_props(model, {KEY: '{"task": "segmentation"}'})
    onnx.save(model, str(file))
    with pytest.raises(DataError, match=r"cannot read the metadata of '.*'.*export the run again"):
        minorkey.load(file)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime, which is not installed; pip install 'minorkey\[export\]'"):
        minorkey.load(deployed / "model.onnx")


def test_a_file_names_no_code(deployed: Path, tmp_path: Path) -> None:
    model = onnx.load(str(deployed / "model.onnx"))
    about = json.loads(model.metadata_props[0].value)
    about["judged_by"]["evaluation"]["metric"] = "harmful.module:metric"
    onnx.helper.set_model_props(model, {KEY: json.dumps(about)})
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(ConfigError, match="which is code that is not minorkey's"):
        minorkey.load(tmp_path / "model.onnx")
    onnx.helper.set_model_props(model, {KEY: json.dumps(about | {"judged_by": {"data_root": "/"}})})
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(DataError, match="'data_root' is none of label_space, source, unseen"):
        minorkey.load(tmp_path / "model.onnx")
