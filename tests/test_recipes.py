"""The recipes: their presets say what the tables and the papers say, and run on files in the published layouts."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from published import FINE, FRANKFURT, GOPRO, PUBLISHED, WEATHER, grey, picture, write_loose
from transformers import SwinBackbone, SwinConfig

from minorkey.config import RunConfig, presets, resolve
from minorkey.errors import ConfigError
from minorkey.models.heads.segmentation import mask2former
from minorkey.runs import api

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
FOLDERS = ("gta5", "synthia", "urbansyn", "cityscapes", "bdd100k", "mapillary", "acdc")
SMALL = {
    "head": {
        "name": "mask2former", "channels": 32, "queries": 4, "points": 16, "encoder_layers": 1, "decoder_layers": 1,
    },
    "transform": {"crop": [64, 64], "max_long_side": 128},
    "evaluation": {"window": [64, 64], "stride": [43, 43], "resize_in": {"mapillary": 64}, "pictures": 1},
}  # fmt: skip
TWO_STEPS = {"steps": 2, "batch_size": 2, "workers": 0, "warmup": 1, "weight_ema_from": 1, "device": "cpu"}


def table(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of the markdown table whose first column has this title."""
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    start = next(i for i, cells in enumerate(lines) if cells[0] == first_column)
    body = lines[start + 2 :]
    return [dict(zip(lines[start], cells, strict=True)) for cells in body if len(cells) == len(lines[start])]


ROWS = {row["preset"]: row for row in table(PAGE.read_text(), "preset")}


def schedule_of(config: RunConfig) -> str:
    training = config.training
    then = "then " if training.decay_from else ""  # the schedule begins where the warm-up ends
    assert training.decay_from in (0, training.warmup)
    warmup = f"warm-up {training.warmup}, {then}" if training.warmup else ""
    return f"{warmup}{training.schedule} {training.power:g}"


def names(specs: str) -> set[str]:
    return set(re.findall(r"[a-z]+[0-9]*[a-z]*", re.sub(r"\(.*\)|1/16 of|:train|:val", "", specs)))


@pytest.mark.parametrize("preset", ROWS)
def test_a_preset_is_what_the_page_says(preset: str) -> None:
    row, config = ROWS[preset], resolve(preset)
    assert {source.data.partition(":")[0] for source in config.source} == names(row["source"])
    assert {spec.partition(":")[0] for spec in config.unseen} == names(row["unseen"])
    assert config.transform.crop == (int(row["crop"]), int(row["crop"]))
    assert config.training.batch_size == int(row["batch"])
    assert config.training.lr == float(row["lr"])
    assert schedule_of(config) == row["schedule"]
    assert config.training.steps == int(row["steps"])
    assert config.training.weight_ema_from == (None if row["weight EMA from"] == "-" else int(row["weight EMA from"]))


@pytest.mark.parametrize("preset", ROWS)
def test_what_all_recipes_share(preset: str) -> None:
    config = resolve(preset)
    training, (side, _) = config.training, config.transform.crop
    assert (config.method.name, config.method.rank, config.method.alpha, config.method.dropout) == ("soma", 16, 16, 0)
    assert config.method.first_block == 8
    assert training.backbone_lr == pytest.approx(training.lr / 2)
    assert (training.betas, training.weight_decay, training.weight_decay_min) == ((0.9, 0.999), 0.05, 1e-5)
    assert config.method.spec.anneals_weight_decay
    assert training.anneal_weight_decay is None
    assert (config.backbone.patch_size, config.backbone.image_size) == (16, side)
    assert (config.head.name, config.head.points) == ("mask2former", 12544)
    assert (config.head.queries, config.head.encoder_layers, config.head.decoder_layers) == (None, None, None)
    assert (mask2former.QUERIES, mask2former.ENCODER_LAYERS, mask2former.DECODER_LAYERS) == (100, 6, 9)
    assert config.transform.scale_ratios == tuple(step / 10 for step in range(5, 21))
    assert (config.transform.max_class_share, config.transform.flip) == (0.75, 0.5)
    assert config.evaluation.window == (side, side)
    assert config.evaluation.stride == {512: (341, 341), 1024: (683, 683)}[side]


DETECTIONS = {row["detection"]: row for row in table(PAGE.read_text(), "detection")}


@pytest.mark.parametrize("preset", DETECTIONS)
def test_a_detector_is_what_the_page_says(preset: str) -> None:
    row, config = DETECTIONS[preset], resolve(preset)
    assert config.task == "detection"
    assert [source.data for source in config.source] == [row["source"]]
    judged = [spec.rpartition(":")[0] if spec.startswith(("diverse", "carla")) else spec for spec in config.unseen]
    assert len(judged) == len(row["unseen"].split(", "))
    assert all(spec.endswith(name) for spec, name in zip(judged, row["unseen"].split(", "), strict=True))
    backbone, head = row["network"].split(", ")
    assert config.backbone.name == ("builtin" if backbone == "any" else backbone)
    assert head == " with auxiliary ".join(filter(None, (config.head.name, config.head.auxiliary)))
    assert config.transform.crop == tuple(int(side) for side in (row["crop"].split("x") * 2)[:2])
    training = config.training
    assert (training.batch_size, training.lr, training.steps) == (
        int(row["batch"]),
        float(row["lr"]),
        int(row["steps"]),
    )


def test_the_page_agrees_with_the_facts_about_the_paper(shared: Path) -> None:
    """The table of facts has ranges of crops and short names; every field that it has must be in our row."""
    facts = {row["name"]: row for row in table((shared / "methods.md").read_text(), "name")}
    for name in facts.keys() & ROWS.keys():
        fact, row = facts[name], ROWS[name]
        assert row["crop"] in fact["crop"]
        factors = [int(number) for number in re.findall(r"\d+", fact["batch"])]
        assert int(row["batch"]) == factors[0] * (factors[1] if len(factors) > 1 else 1)
        assert float(row["lr"]) == float(fact["lr"])
        assert "poly" in fact["schedule"]
        assert ("warm-up" in fact["schedule"]) == ("warm-up" in row["schedule"])
        for number, unit in re.findall(r"([\d.]+)(k?)", "".join(re.findall(r"warm-up ([\d.]+k)", fact["schedule"]))):
            assert f"warm-up {int(float(number) * (1000 if unit else 1))}" in row["schedule"]
        wanted = "-" if fact["weight EMA from"].startswith("-") else fact["weight EMA from"].replace("k", "000")
        assert row["weight EMA from"] == wanted
    assert len(facts.keys() & ROWS.keys()) >= 5


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every data set of the recipes, one or two images each, as published."""
    root = tmp_path_factory.mktemp("data")
    for name in FOLDERS:
        write_loose(PUBLISHED[name][0].files, root / name)
    train = FRANKFURT.replace("frankfurt", "aachen")
    write_loose(
        {
            f"leftImg8bit/train/{train}_leftImg8bit.png": picture(),
            f"gtFine/train/{train}_gtFine_labelIds.png": grey(FINE),
        },
        root / "cityscapes",
    )
    return root


@pytest.fixture
def backbone(backbone_folder: Path) -> dict[str, object]:
    return {"name": str(backbone_folder), "patch_size": 16, "image_size": 64}


@pytest.mark.parametrize("preset", [name for name in ROWS if "16th" not in name])
def test_a_recipe_runs_on_published_layouts(preset: str, data_root: Path, backbone: dict, tmp_path: Path) -> None:
    scores = api.train(preset, out=tmp_path, data_root=str(data_root), backbone=backbone, training=TWO_STEPS, **SMALL)
    expected = {"acdc": ["acdc-fog", "acdc-night", "acdc-rain", "acdc-snow"]}
    wanted = [d for spec in resolve(preset).unseen for d in expected.get(spec, [spec.partition(":")[0]])]
    assert [score.domain for score in scores.unseen] == wanted
    assert scores.protocol.weights == "ema"


def test_a_sixteenth_of_cityscapes_goes_on_from_another_run(data_root: Path, backbone: dict, tmp_path: Path) -> None:
    common = {"data_root": str(data_root), "backbone": backbone, "training": TWO_STEPS, **SMALL}
    api.train("gta_synthia_urbansyn_to_cbm_1024", out=tmp_path / "first", **common)
    given = common | {"start_from": str(tmp_path / "first"), "method": "lora"}
    with pytest.raises(ConfigError, match="has another method"):
        api.train("cityscapes16th_to_bm", out=tmp_path / "other", **given)
    scores = api.train("cityscapes16th_to_bm", out=tmp_path / "then", start_from=str(tmp_path / "first"), **common)
    assert [score.domain for score in scores.unseen] == ["bdd100k", "mapillary"]


# Adaptation: facts about TransDA (arXiv 2203.07988), VFM-UDA++ (arXiv 2503.10685) and their released code.

ADAPTATIONS = {row["adaptation"]: row for row in table(PAGE.read_text(), "adaptation")}
TRANSDA = ["gta_to_cityscapes_transda", "synthia_to_cityscapes_transda"]
ONLINE = [name for name in ADAPTATIONS if name.endswith("_self_training") and "airsim" not in name]
SIXTEEN = ["synthia_to_cityscapes_transda", "synthia_to_cityscapes_self_training"]


def number(text: str) -> float:
    """Of `10k`, `31 250` and `6e-5`."""
    value = text.replace(" ", "")
    return float(value.removesuffix("k")) * (1000 if value.endswith("k") else 1)


def short_sides(config: RunConfig, of: str) -> list[int]:
    """Of the scaled images, in pixels."""
    transform = getattr(config, of)
    return [round(ratio * min(transform.crop)) for ratio in transform.scale_ratios]


def test_every_adaptation_is_on_the_page() -> None:
    assert set(ADAPTATIONS) == {name for name in presets() if resolve(name).regime != "supervised"}


@pytest.mark.parametrize("preset", ADAPTATIONS)
def test_an_adaptation_is_what_the_page_says(preset: str) -> None:
    row, config = ADAPTATIONS[preset], resolve(preset)
    assert [source.data for source in config.source] == [row["source"]]
    assert [target.data for target in config.target] == [row["target"]]
    assert config.unseen == [row["judged on"]]
    assert (config.regime, config.teacher.name, config.method.name) == (row["regime"], row["teacher"], row["method"])
    assert f"{config.backbone.name}, {config.head.name}" == row["network"].replace("any of patch 16", "builtin")
    assert config.transform.crop == (int(row["crop"]), int(row["crop"]))
    assert (config.target_transform or config.transform).crop == config.transform.crop
    assert (config.training.batch_size, config.training.steps) == (int(row["batch"]), int(row["steps"]))
    if "cityscapes" in preset:
        assert config.label_space == ("cityscapes16" if preset in SIXTEEN else "cityscapes19")


@pytest.mark.parametrize("preset", TRANSDA)
def test_transda_is_as_published(preset: str) -> None:
    config = resolve(preset)
    training, photometric = config.training, config.transform.photometric
    assert (training.lr, training.backbone_lr, training.weight_decay) == (6e-5, 6e-5, 0.01)
    assert (training.schedule, training.power, training.horizon, training.warmup) == ("poly", 1, 31250, 1500)
    assert (training.batch_size, training.steps, training.rare_classes, training.clip_norm) == (8, 10_000, None, None)
    assert training.weight_ema_from is None
    assert (config.transda.rounds, config.transda.warmup_steps) == (3, None)
    assert (config.transda.adversarial, config.transda.discriminator_lr) == (0.001, 1e-4)
    assert config.transda.dynamic_weights
    assert config.transda.resolution == "image"
    assert (config.teacher.momentum, config.teacher.ramp, config.teacher.buffers) == (0.999, False, "target")
    assert short_sides(config, "transform") == [72 * step for step in range(5, 21)]
    assert short_sides(config, "target_transform") == [round(51.2 * step) for step in range(5, 21)]
    assert photometric is not None
    assert (photometric.probability, photometric.brightness, photometric.hue) == (1, 0.5 * 128, 0.2 * 360)
    assert (photometric.contrast, photometric.saturation) == ((0.5, 1.5), (0.5, 1.5))
    assert config.target_transform is not None
    assert config.target_transform.photometric == photometric
    assert config.evaluation.window is None
    assert config.deployed == "teacher"
    assert (config.head.channels, config.transda.class_wise) == (512, False)
    assert (config.method.rank, config.method.first_block, config.method.roles) == (16, None, None)
    assert config.method.spec.default_first_block(24) == 0
    assert not config.method.spec.anneals_weight_decay


@pytest.mark.parametrize("preset", ONLINE)
def test_online_self_training_is_as_published(preset: str) -> None:
    config = resolve(preset)
    training, options = config.training, config.self_training
    assert (options.threshold, options.unsure, options.class_mix) == (0.968, "weigh", True)
    assert options.masking is not None
    assert (options.masking.hide, options.masking.ratio) == ("tokens", 0.7)
    assert (options.feature_distance_source, options.feature_distance_target) == (0.1, 0.1)
    assert (config.teacher.momentum, config.teacher.ramp) == (0.999, True)
    assert (training.weight_decay, training.warmup, training.steps, training.batch_size) == (0.01, 1500, 40_000, 8)
    assert (training.schedule, training.power, training.horizon, training.rare_classes) == ("poly", 1, None, 0.05)
    source = 1440 if preset.startswith("gta") else 1024
    assert short_sides(config, "transform") == [round(source * part / 100) for part in range(90, 111, 5)]
    assert short_sides(config, "target_transform") == [round(1024 * part / 100) for part in range(90, 111, 5)]
    assert config.transform.photometric is not None
    assert config.transform.photometric.contrast == (0.2, 1.8)
    assert (config.transform.photometric.probability, config.transform.photometric.hue) == (0.8, 0.4 * 360)
    assert (config.method.rank, config.method.first_block) == (16, 8)


@pytest.mark.parametrize("preset", ONLINE)
def test_what_is_not_as_published_is_soma(preset: str) -> None:
    """The rates of full fine-tuning do not carry over to adapters; those of SoMA's own recipe are taken."""
    soma, config = resolve("gta_to_cbm"), resolve(preset)
    assert (config.training.lr, config.training.backbone_lr) == (soma.training.lr, soma.training.backbone_lr)
    assert config.method == soma.method
    full = resolve(preset, {"method": "full"}).training.backbone_lr
    assert full == pytest.approx(0.1 * (1e-5 if preset.startswith("gta") else 5e-5))


def test_the_adaptations_agree_with_the_facts_about_the_papers(shared: Path) -> None:
    facts = " ".join((shared / "methods.md").read_text().split())
    transda = re.search(
        r"then (?P<rounds>\d+) rounds .*?AdamW (?P<lr>[\de-]+), weight decay (?P<decay>[\d.]+), linear warm-up "
        r"(?P<warmup>[\d.]+k) then linear decay over (?P<horizon>[\d ]+) stopped at (?P<steps>\d+k); discriminators "
        r"Adam (?P<discriminator>[\de-]+) \(0\.9, 0\.99\)\. Batch (?P<batch>\d+)\.",
        facts,
    )
    assert transda is not None
    for config in map(resolve, TRANSDA):
        training = config.training
        assert {name: number(text) for name, text in transda.groupdict().items()} == {
            "rounds": config.transda.rounds,
            "lr": training.lr,
            "decay": training.weight_decay,
            "warmup": training.warmup,
            "horizon": training.horizon,
            "steps": training.steps,
            "discriminator": config.transda.discriminator_lr,
            "batch": training.batch_size,
        }
    online = re.search(
        r"confidence weight \((?P<threshold>[\d.]+)\), masked target loss with (?P<hidden>\d+) % of \*tokens\* dropped "
        r".*?feature distance (?P<source>[\d.]+) / (?P<target>[\d.]+) .*?weight decay (?P<decay>[\d.]+), "
        r"warm-up (?P<warmup>[\d.]+k), (?P<steps>\d+k) iterations, batch (?P<batch>\d+) at (?P<crop>\d+), "
        r"momentum min\(1 - 1/\(t\+1\), (?P<momentum>[\d.]+)\), rare-class sampling",
        facts,
    )
    assert online is not None
    for config in map(resolve, ONLINE):
        training, options = config.training, config.self_training
        assert options.masking is not None
        assert {name: number(text) for name, text in online.groupdict().items()} == {
            "threshold": options.threshold,
            "hidden": 100 * options.masking.ratio,
            "source": options.feature_distance_source,
            "target": options.feature_distance_target,
            "decay": training.weight_decay,
            "warmup": training.warmup,
            "steps": training.steps,
            "batch": training.batch_size,
            "crop": config.transform.crop[0],
            "momentum": config.teacher.momentum,
        }
        assert training.rare_classes is not None


@pytest.fixture(scope="module")
def target_root(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets of the adaptations; those that are no source elsewhere have no labels of their training images."""
    root = tmp_path_factory.mktemp("targets")
    for name in ("gta5", "synthia", "cityscapes"):
        (root / name).symlink_to(data_root / name)
    night = "GOPR0345/GOPR0345_frame_000400"
    write_loose(PUBLISHED["acdc"][0].files, root / "acdc")
    write_loose({f"rgb_anon/{place}/train/{GOPRO}_rgb_anon.png": picture() for place in WEATHER}, root / "acdc")
    write_loose(PUBLISHED["dark-zurich"][0].files, root / "dark-zurich")
    write_loose({f"rgb_anon/train/night/{night}_rgb_anon.png": picture()}, root / "dark-zurich")
    write_loose(PUBLISHED["airsim"][0].files, root / "airsim")
    camvid = {name.replace("train", "val"): content for name, content in PUBLISHED["camvid"][0].files.items()}
    write_loose(camvid | {"images/train/0001TP_006690.png": picture()}, root / "camvid")
    return root


@pytest.fixture(scope="module")
def swin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Swin of 4 stages with a block each."""
    folder = tmp_path_factory.mktemp("swin") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = SwinConfig(embed_dim=16, depths=[1] * 4, num_heads=[1, 1, 2, 2], image_size=64, window_size=2)
        SwinBackbone(config).save_pretrained(folder)
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("preset", ADAPTATIONS)
def test_an_adaptation_runs_on_published_layouts(
    preset: str, target_root: Path, backbone: dict[str, object], swin_folder: Path, tmp_path: Path
) -> None:
    transform = {"crop": [64, 64]}
    small: dict[str, Any] = {
        "data_root": str(target_root),
        "world": {"size": [128, 64], "train_count": 2, "eval_count": 1},
        "backbone": {"name": str(swin_folder)} if preset in TRANSDA else backbone,
        "head": {"channels": 8},
        "head_from": None,  # what ships is for the backbone that ships
        "transform": transform,
        "training": {"steps": 2, "batch_size": 2, "workers": 0, "warmup": 1, "device": "cpu"},
        "transda": {"rounds": 1, "warmup_steps": 2},
        "self_training": {"warmup": 1 if resolve(preset).self_training.warmup else 0},
        "evaluation": {"pictures": 1},
    }
    if resolve(preset).target_transform is not None:
        small["target_transform"] = transform
    whole = resolve(preset).evaluation.window is None
    small["evaluation"] |= {"resize": 64} if whole else {"window": [64, 64], "stride": [43, 43]}
    scores = api.train(preset, out=tmp_path / "run", **small)
    domains = {
        "acdc:val": [f"acdc-{place}" for place in WEATHER],
        "camvid:val": ["camvid"],
        "cityscapes:val": ["cityscapes"],
        "dark-zurich:val": ["dark-zurich"],
        "world:night": ["night"],
    }
    assert [score.domain for score in scores.unseen] == domains[ADAPTATIONS[preset]["judged on"]]
    assert scores.protocol.weights == "teacher"
    assert (tmp_path / "run" / "pseudo_labels").is_dir() == (ADAPTATIONS[preset]["regime"] == "transda")


def test_the_momentum_network_of_transda_is_one_word_away() -> None:
    config = resolve("gta_to_cityscapes_transda", {"teacher": "ema"})
    assert (config.teacher.name, config.teacher.momentum, config.teacher.ramp) == ("ema", 0.999, False)
