"""The recipes of detection: their presets say what the paper says, and run on files in the published layouts."""

import json

import numpy as np
import pytest
from PIL import Image
from published_boxes import PUBLISHED_BOXES

from minorkey.adapters.specs import METHODS
from minorkey.config import resolve
from minorkey.training.optim import lr_factor

UNSEEN = ["night_sunny", "dusk_rainy", "night_rainy", "daytime_foggy"]
SMALL = [
    "head.queries=6", "head.channels=64", "head.encoder_layers=1", "head.decoder_layers=2", "transform.crop=[64, 64]",
    "evaluation.resize=64", "evaluation.pictures=1", "training.steps=2", "training.batch_size=2", "training.workers=0",
    "training.warmup=1", "training.device=cpu",
]  # fmt: skip


def test_diverse_weather_is_the_recipe_of_the_paper():
    """SoMA (arXiv 2412.04077): its table of recipes, and its released configuration."""
    config = resolve("diverse_weather")
    training = config.training
    assert config.task == "detection"
    assert [source.data for source in config.source] == ["diverse_weather-daytime_clear"]
    assert config.unseen == [f"diverse_weather-{name}:all" for name in UNSEEN]
    assert (config.transform.crop, config.transform.scale_jitter) == ((1024, 1024), (0.1, 2.0))
    assert (training.batch_size, training.steps, training.lr, training.clip_norm) == (8, 40_000, 2e-4, 35)
    assert (training.warmup, training.schedule, training.milestones) == (1500, "steps", [24_000, 32_000])
    assert [lr_factor(step, training) for step in (1500, 24_000, 32_000)] == pytest.approx([1, 0.1, 0.01])
    assert training.backbone_lr == training.lr / 2
    assert (training.weight_decay, training.backbone_weight_decay) == (0.05, 0.01)
    assert (config.method.name, config.method.rank, config.method.first_block) == ("soma", 16, 8)
    assert (config.head.queries, config.head.auxiliary) == (900, "atss")
    assert config.metric == "voc07"


@pytest.mark.parametrize("method", ["soma", "lora", "dora", "full", "frozen"])
def test_its_baselines_have_a_rate(method):
    assert method in METHODS
    assert resolve("diverse_weather", {"method": method}).training.backbone_rate(method) > 0


def test_diverse_weather_runs_on_the_published_layout(make_backbone, command, tmp_path):
    files = dict(PUBLISHED_BOXES["diverse_weather"][0].files)
    for name in [name for name in files if name.endswith("ImageSets/Main/train.txt")]:
        files[name] += files[name.replace("train.txt", "test.txt")]
    for name, content in files.items():
        path = tmp_path / "data" / "diverse_weather" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    backbone = make_backbone("deep", num_hidden_layers=12)
    given = [f"backbone.name={backbone}", "method.first_block=2", "backbone.patch_size=8", "backbone.image_size=64"]
    run = tmp_path / "run"
    code, error = command(
        "train", "diverse_weather", "--data-root", tmp_path / "data", "--out", run, *given, *SMALL
    )  # fmt: skip
    assert (code, error.count("minorkey:")) == (0, 0), error
    scores = json.loads((run / "metrics.json").read_text())
    assert scores["protocol"]["metric"] == "voc07"
    roles = {domain["domain"]: (domain["role"], domain["images"]) for domain in scores["domains"]}
    assert roles["diverse_weather-daytime_clear"] == ("source", 1)
    assert {name.removeprefix("diverse_weather-") for name, (role, _) in roles.items() if role == "unseen"} == {*UNSEEN}
    assert all(images == 2 for role, images in roles.values() if role == "unseen")
    assert scores["unseen_mean"] is not None


def test_carla_trains_on_bright_images_and_is_judged_on_the_dark(make_backbone, command, tmp_path):
    root = tmp_path / "data" / "carla-det"
    (root / "annotations").mkdir(parents=True)
    for split, greys in {"train": (120, 60, 140, 200), "val": (30, 130)}.items():
        (root / "images" / split).mkdir(parents=True)
        for number, grey in enumerate(greys):
            Image.fromarray(np.full((64, 96, 3), grey, np.uint8)).save(root / "images" / split / f"{number}.jpg")
        whole = {
            "images": [{"id": i, "file_name": f"{i}.jpg", "width": 96, "height": 64} for i in range(len(greys))],
            "annotations": [{"image_id": i, "category_id": 1, "bbox": [20, 10, 30, 30]} for i in range(len(greys))],
            "categories": [{"id": 1, "name": "vehicle"}],
        }
        (root / "annotations" / f"{split}.json").write_text(json.dumps(whole))
    backbone = make_backbone("tiny")
    given = [f"backbone.name={backbone}", "method.first_block=2", "method.rank=4", "head.queries=6", *SMALL[4:]]
    run = tmp_path / "run"
    code, error = command("train", "carla", "--data-root", tmp_path / "data", "--out", run, *given)
    assert (code, error.count("minorkey:")) == (0, 0), error
    domains = json.loads((run / "metrics.json").read_text())["domains"]
    assert {domain["domain"]: (domain["role"], domain["images"]) for domain in domains} == {
        "carla-det-day": ("source", 1),
        "carla-det-dark": ("unseen", 2),
    }
