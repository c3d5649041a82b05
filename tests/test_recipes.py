"""The recipes of SoMA: their presets say what the tables say, and run on files in the published layouts."""

import re
from pathlib import Path

import pytest
from published import FINE, FRANKFURT, PUBLISHED, grey, picture, write_loose

from minorkey import api
from minorkey.config import RunConfig, resolve
from minorkey.errors import ConfigError

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
    warmup = f"warm-up {training.warmup}, " if training.warmup else ""
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
    assert (config.head.name, config.head.queries, config.head.decoder_layers) == ("mask2former", 100, 9)
    assert (config.head.encoder_layers, config.head.points) == (6, 12544)
    assert config.transform.scale_ratios == tuple(step / 10 for step in range(5, 21))
    assert (config.transform.max_class_share, config.transform.flip) == (0.75, 0.5)
    assert config.evaluation.window == (side, side)
    assert config.evaluation.stride == {512: (341, 341), 1024: (683, 683)}[side]


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
