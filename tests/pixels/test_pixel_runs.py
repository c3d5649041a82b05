"""Runs on images that are not 8-bit RGB: trained, judged, resumed, loaded, predicted, exported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForSemanticSegmentation

from minorkey.config import load_config
from minorkey.data.given import as_image
from minorkey.data.loaders import stack_images
from minorkey.data.looks import looks
from minorkey.data.readers import open_datasets
from minorkey.errors import AdapterError, ConfigError, DataError
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.run import export_run
from minorkey.labels import label_space
from minorkey.runs.from_sources import with_pixels
from minorkey.runs.load import load
from minorkey.runs.predict import predict_folder
from minorkey.runs.train import train
from minorkey.show.stage import Stage
from minorkey.system.run_folder import RunFolder

SAID = "channels: [red, green, blue, nir, swir]\nrange: [0, 4095]\nshown: [swir, nir, red]"
TWO = "field, water"


def on_arrays(make_config, root, **changes):
    """The tiny run on a folder of arrays."""
    changes = {"head": {"name": "linear"}, "unseen": [], "training": {}} | changes
    changes["training"] = {"steps": 3} | changes["training"]
    return make_config(source=str(root), label_space=TWO, **changes)


@pytest.fixture
def five_channels(make_config, write_arrays, tmp_path, console):
    """A finished SoMA run on five channels of 12 bits."""
    root = write_arrays(said=SAID)
    scores = train(on_arrays(make_config, root), tmp_path / "run", console=console)
    return RunFolder(tmp_path / "run"), root, scores, console.file.getvalue()


def test_five_channels_from_training_to_prediction(five_channels, tmp_path, console):
    run, root, scores, told = five_channels
    assert "the network takes 5 channels: kernels of nir, swir start at 0, and its first layer trains" in told
    assert scores.domains
    config = load_config(run.config)
    assert config.backbone.channels == ("red", "green", "blue", "nir", "swir")
    assert config.backbone.mean == pytest.approx([0.5] * 5, abs=0.1)  # as measured
    assert config.transform.photometric.hue == 0
    predictor = load(run.path, device="cpu")
    kernel = dict(predictor.model.named_parameters())
    kernel = next(value for name, value in kernel.items() if name.endswith("patch_embeddings.projection.weight"))
    assert kernel[:, 3:].any(), "what started at 0 has learnt, was saved and is loaded"
    file = root / "images" / "val" / "0.npy"
    prediction = predictor.predict(file)
    np.testing.assert_array_equal(predictor.predict(np.load(file)).labels, prediction.labels)
    assert prediction.image.dtype == np.uint8
    np.testing.assert_array_equal(prediction.image[..., 0], np.rint(np.load(file)[..., 4] / np.float32(4095) * 255))
    shutil.rmtree(root / "labels")
    (root / "dataset.yaml").unlink()
    assert train(config, run.path, resume=True, console=console).domains == scores.domains, "it is only read"
    done = predict_folder(run.path, str(root / "images" / "val"), tmp_path / "out", console=console)
    assert (done.written, done.problems) == (4, [])
    with Image.open(tmp_path / "out" / "ids" / "0.png") as ids:
        np.testing.assert_array_equal(np.asarray(ids), prediction.labels)


def test_a_run_that_is_resumed_is_the_same(make_config, write_arrays, tmp_path, console, five_channels):
    run, root, *_ = five_channels
    resumed = on_arrays(make_config, root)
    train(resumed, tmp_path / "again", console=console)
    shutil.rmtree(sorted((tmp_path / "again" / "checkpoints").iterdir())[-1])
    for file in (RunFolder(tmp_path / "again").cost, RunFolder(tmp_path / "again").metrics):
        file.unlink()
    train(resumed, tmp_path / "again", resume=True, console=console)
    one, other = load(run.path, device="cpu").model, load(tmp_path / "again", device="cpu").model
    for (name, value), again in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, again), name


def test_the_exported_model_takes_values_as_they_lie_in_files(five_channels, tmp_path):
    run, root, *_ = five_channels
    with pytest.raises(AdapterError, match="channels red, green, blue, nir, swir, which no adapter holds; use"):
        export_run(run.path, "adapter")
    export_run(run.path, "model", out=tmp_path / "model")
    model = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "model", trust_remote_code=True).eval()
    settings = json.loads((tmp_path / "model" / "preprocessor_config.json").read_text())
    assert not settings["do_rescale"]
    values = np.load(root / "images" / "val" / "0.npy").astype(np.float32)
    pixels = (values - np.array(settings["image_mean"], np.float32)) / np.array(settings["image_std"], np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels).permute(2, 0, 1)[None].float()).logits
    predictor = load(run.path, device="cpu")
    expected = predictor.predict(root / "images" / "val" / "0.npy", probabilities=True).probabilities
    found = torch.nn.functional.interpolate(logits, size=values.shape[:2], mode="bilinear").softmax(1)[0]
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-3, atol=1e-4)


def test_the_deployed_file_takes_values_as_the_run_does(five_channels, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    run, root, *_ = five_channels
    image = root / "images" / "val" / "0.npy"
    deploy = DeployOptions(size=np.load(image).shape[:2])
    file = export_run(run.path, "onnx", out=tmp_path / "onnx", deploy=deploy).folder / "model.onnx"
    expected, found = (
        load(place, device="cpu").predict(image, probabilities=True).probabilities for place in (run.path, file)
    )
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-3, atol=1e-4)


def test_the_code_that_loads_a_graph_of_torch_has_the_channels_of_the_run(five_channels, tmp_path):
    written = export_run(five_channels[0].path, "torch", out=tmp_path / "graph")
    names = {"folder": str(written.folder)}
    exec(written.code, names)
    assert names["images"].shape[1] == 5


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("frozen", {}),
        ("full", {}),
        ("frozen", {"method": {"name": "lora", "layers": {"conv": ["patch_embeddings.projection"]}}}),
        ("norm", {}),
        ("lora", {"regime": "self_training", "teacher": {"name": "base"}, "self_training": {"threshold": 0.0}}),
        ("lora", {"training": {"choose": "ema", "weight_ema_from": 1}}),
    ],
)
def test_methods_and_regimes(make_config, write_arrays, tmp_path, console, method, changes):
    root = write_arrays(said=SAID)
    if "regime" in changes:
        changes = {**changes, "target": str(root / "images" / "val")}
    train(on_arrays(make_config, root, **{"method": method, **changes}), tmp_path / "run", console=console)
    model = load(tmp_path / "run", device="cpu").model
    kernel = next(v for name, v in model.named_parameters() if name.endswith("patch_embeddings.projection.weight"))
    assert kernel[:, 3:].any()


def test_what_only_a_new_channel_shows_is_learnt(make_config, write_arrays, tmp_path, console):
    """The classes are told apart by the last channel alone, whose kernel starts at 0, under a frozen backbone."""
    training = {"steps": 60, "batch_size": 4, "lr": 1e-2, "backbone_lr": 1e-2}
    config = on_arrays(make_config, write_arrays(said=SAID), method="frozen", training=training)
    scores = train(config, tmp_path / "run", console=console)
    assert scores.domains[0].score > 0.7


def test_12_bits_are_trained_on_as_8_bits_are(make_config, write_arrays, tmp_path, console):
    """Values of 8 bits, times 16: the same losses but for the crops of bytes, which are rounded."""
    losses = []
    for name, said, factor in (("deep", "range: [0, 4080]", 16), ("flat", "channels: 3", 1)):
        root = write_arrays(name, said=said, most=255, channels=3)
        for file in root.glob("images/*/*.npy"):
            np.save(file, (np.load(file) * factor).astype(np.uint16 if factor > 1 else np.uint8))
        train(on_arrays(make_config, root, transform={"crop": [32, 32]}), tmp_path / f"run-{name}", console=console)
        log = (tmp_path / f"run-{name}" / "log.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in log if "loss" in line])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02)


@pytest.mark.parametrize(
    ("task", "kind", "changes"),
    [
        (
            "detection",
            "boxes",
            {"head": {"name": "atss", "channels": 8, "levels": 2, "queries": 9}, "label_space": "ship, boat"},
        ),
        ("classification", "category", {"head": {"name": "pooled"}, "label_space": "a, b"}),
    ],
)
def test_other_tasks(make_config, write_named, tmp_path, console, task, kind, changes):
    root = write_named(kind)
    config = make_config(task=task, source=str(root), unseen=[], training={"steps": 2}, **changes)
    assert train(config, tmp_path / "run", console=console).domains
    predictor = load(tmp_path / "run", device="cpu")
    file = next(root.rglob("val/**/*.npy"))
    assert predictor.predict(file).image.shape == (40, 48, 3)
    assert predict_folder(tmp_path / "run", str(file), tmp_path / "out", console=console).written == 1


def test_the_card_of_a_classifier_brings_values_to_size(make_config, write_named, tmp_path, console, monkeypatch):
    """No processor of transformers does it where torchvision is not installed: Pillow resizes bytes alone."""
    root = write_named("category")
    for file in root.rglob("*.npy"):
        np.save(file, (4095 * np.load(file)).astype(np.uint16))
    (root / "dataset.yaml").write_text((root / "dataset.yaml").read_text().replace("range: [0, 1]", "range: [0, 4095]"))
    changes = {"task": "classification", "head": {"name": "pooled"}, "label_space": "a, b"}
    config = make_config(source=str(root), unseen=[], training={"steps": 2}, **changes)
    train(config, tmp_path / "run", console=console)
    export_run(tmp_path / "run", "model", out=tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    card = {}
    exec(Path("README.md").read_text().split("```python\n")[1].split("```")[0], card)
    image = next(root.rglob("val/**/*.npy"))
    pixels = card["processor"](np.load(image), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    with torch.no_grad():
        found = card["model"](card["sized"](pixels)).logits.softmax(-1)[0]
    predictor = load(tmp_path / "run", device="cpu")
    torch.testing.assert_close(
        found, predictor.output(as_image(np.load(image), predictor.pixels))[0], rtol=0, atol=1e-4
    )


def test_bytes_and_floats_share_a_pass(make_config, write_arrays, tmp_path, console):
    """Images of 8 and of 12 bits that are predicted at once are as each alone; so are those of a batch."""
    root = write_arrays(said="range: [0, 4080]", most=4080, channels=3)
    train(on_arrays(make_config, root), tmp_path / "run", console=console)
    predictor, values = load(tmp_path / "run", device="cpu"), np.load(root / "images" / "val" / "0.npy") // 16
    flat, deep = (as_image(each, predictor.pixels) for each in (values.astype(np.uint8), values * 16))
    assert (flat.dtype, deep.dtype) == (np.uint8, np.float32)
    together = predictor._pixels([flat, deep])
    torch.testing.assert_close(together[0], together[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[:1], predictor._pixels([flat]), rtol=1e-5, atol=1e-5)
    batch = stack_images([flat, deep], (40, 50))
    torch.testing.assert_close(batch[0], batch[1])
    assert batch[:, 32:].max() == batch[:, :, 48:].max() == 0


def test_grey_alone(make_config, write_arrays, tmp_path, console):
    config = with_pixels(on_arrays(make_config, write_arrays(said="channels: 1\nrange: [0, 4095]", channels=1)))
    assert (config.backbone.channels, config.backbone.mean) == (("grey",), None)
    train(config, tmp_path / "run", console=console)
    assert len(load(tmp_path / "run", device="cpu").mean) == 1
    with pytest.raises(ConfigError, match="takes images with channels grey, .*the page shows 8-bit RGB alone"):
        Stage.of([tmp_path / "run"])


def test_what_does_not_go_together(make_config, write_arrays, tmp_path, console):
    root, space = write_arrays(said=SAID), label_space(TWO)
    with pytest.raises(ConfigError, match=r"corruptions are of 8-bit RGB, .* range 0 to 4095; leave '\+fog@3' out"):
        open_datasets(f"{root}:val+fog@3", role="unseen", label_space=space)
    with pytest.raises(ConfigError, match="images of `world` are RGB, those of this run have channels red, green"):
        train(on_arrays(make_config, root, unseen="world:night"), tmp_path / "run", console=console)
    other = write_arrays("other", said="channels: 4\nrange: [0, 4095]", channels=4)
    with pytest.raises(ConfigError, match="channels are red, .* but elsewhere in the run red, green"):
        train(on_arrays(make_config, root, unseen=str(other)), tmp_path / "run2", console=console)
    with pytest.raises(ConfigError, match="mean has 2 numbers for 5 channels"):
        with_pixels(on_arrays(make_config, root, backbone={"mean": [0, 1], "std": [1, 1]}))
    said = "channels: [a, b, c]\nrange: [[0, 9], [0, 9], [5000, 9000]]"
    flat = write_arrays("flat", said=said, channels=3)
    with pytest.raises(DataError, match="channel 'c' is the same in all images"):
        with_pixels(on_arrays(make_config, flat))


def test_14_bits_in_16_are_said_and_one_dark_image_is_not(make_config, street_folder, tmp_path, console):
    root = street_folder()
    for index, file in enumerate(sorted(root.glob("images/train/*.png"))):
        most = 16383 if index else 40000
        Image.fromarray(np.linspace(5000, most, 32 * 48).reshape(32, 48).astype(np.uint16)).save(file)
    (reader,) = open_datasets(str(root), role="source", label_space=label_space("street7"))
    grey = ["images are grey, and repeated over red, green and blue; `channels: 1` has the network take one"]
    assert looks(reader) == grey
    Image.fromarray(np.full((32, 48), 9000, np.uint16)).save(min(root.glob("images/train/*.png")))
    _, line = looks(reader)
    assert "have 16 bits and no value above 16383 of 65535" in line
    assert "state `range: [0, 16383]`" in line
    (root / "dataset.yaml").write_text((root / "dataset.yaml").read_text() + "\nrange: [0, 16383]\n")
    (reader,) = open_datasets(str(root), role="source", label_space=label_space("street7"))
    assert looks(reader) == grey
    assert reader[0].image.max() == pytest.approx(9000 / 16383)
