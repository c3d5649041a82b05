from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoBackbone, AutoConfig

from minorkey.adapters.options import MethodOptions
from minorkey.adapters.targets import find_targets
from minorkey.config import resolve
from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.catalog import NORMS, catalog, markdown_table, with_first_block
from minorkey.models.options import BackboneOptions
from minorkey.models.timm_backbone import TimmFeatures, TimmFeaturesConfig

TIMM = find_spec("timm") is not None
PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"


def _network(name):
    row = catalog()[name]
    if row.needs_timm and not TIMM:
        pytest.skip("timm is not installed here; run `make test-timm`")
    with torch.device("meta"):
        if row.needs_timm:
            return TimmFeatures(TimmFeaturesConfig(**row.config))
        return AutoBackbone.from_config(AutoConfig.for_model(**row.config))


@pytest.mark.parametrize("name", catalog())
def test_row_counts_what_the_architecture_has(name):
    network, row = _network(name), catalog()[name]
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == row.parameters
    assert 1 + max(target.block for target in find_targets(network)) == row.blocks
    if row.needs_timm:
        given = network.network.pretrained_cfg
        assert (tuple(given["mean"]), tuple(given["std"])) == NORMS[row.norm]


def test_every_family_is_there():
    families = {
        (row.config.get("model_type") or row.config["architecture"].split("_")[0]) for row in catalog().values()
    }
    assert families == {
        "dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext", "swin", "convnext", "beit", "resnet",
        "eva02", "vit", "samvit",
    }  # fmt: skip


def test_licences_are_told():
    for name, row in catalog().items():
        assert row.gated == (row.licence == "DINOv3 License") == name.startswith("dinov3")


def test_page_shows_the_table():
    assert markdown_table() in PAGE.read_text(encoding="utf-8")
    assert markdown_table().count("\n") == 2 + len(catalog())


def test_preset_of_the_main_recipe_takes_the_row_as_it_says():
    options = resolve("gta_to_cbm").backbone
    assert options == BackboneOptions(name="dinov2-large", **catalog()["dinov2-large"].recipe)


@pytest.mark.parametrize(
    ("method", "backbone", "expected"),
    [
        ({"name": "soma"}, "dinov2-large", 8),
        ({"name": "soma"}, "dinov2-base", 2),
        ({"name": "soma", "first_block": 5}, "dinov2-base", 5),
        ({"name": "lora"}, "dinov2-large", None),
        ({"name": "soma"}, "dinov2-small", None),
        ({"name": "soma"}, "facebook/dinov2-large", None),
        ({"name": "soma"}, "builtin", None),
    ],
)
def test_first_block_is_the_papers_where_there_is_one(method, backbone, expected):
    options = MethodOptions(**method)
    assert with_first_block(options, backbone) == options.model_copy(update={"first_block": expected})


def _refused(name):
    with pytest.raises(ModelError) as error:
        load_backbone(BackboneOptions(name=name))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_row_while_offline():
    message = _refused("dinov2-large")
    assert "backbone 'dinov2-large' could not be loaded from facebook/dinov2-large (" in message
    assert "without network access give a local folder" in message
    assert "licence" not in message


def test_gated_row_tells_its_licence():
    assert "accept its licence (DINOv3 License) there and log in with `hf auth login`" in _refused("dinov3-large")


def test_closest_name():
    assert "did you mean 'dinov2-large'?" in _refused("dinov2-larg")
