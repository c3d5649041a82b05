"""`--to adapter`: the folder in the hands of somebody who has transformers and PEFT and nothing of ours."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from minorkey.config import load_config, save_config
from minorkey.export.adapter import write_adapter
from minorkey.export.card import card_text
from minorkey.export.run import export_run
from minorkey.export.trained import Trained, open_trained
from minorkey.system.run_folder import RunFolder


@pytest.fixture(scope="module")
def exported(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's SoMA run, exported; read only."""
    return export_run(finished_run.path, out=tmp_path_factory.mktemp("exported") / "out").folder


def test_stock_peft_loads_it_as_the_card_says(
    exported: Path, finished_run: RunFolder, backbone_folder: Path, run_cards, expect, tmp_path: Path
) -> None:
    expect(finished_run, tmp_path)
    placed = shutil.copytree(exported, tmp_path / "out")
    card = (placed / "README.md").read_text()
    base = f'base = "{backbone_folder.name}"  # wherever that folder lies'
    assert base in card
    (placed / "README.md").write_text(card.replace(base, f'base = "{backbone_folder}"'))
    assert run_cards(placed) == ["Dinov2Backbone"]


def test_the_configuration_names_the_base_without_telling_of_this_machine(
    exported: Path, backbone_folder: Path
) -> None:
    config = json.loads((exported / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == backbone_folder.name
    for file in exported.glob("*.*"):
        assert file.suffix == ".safetensors" or str(backbone_folder.parent) not in file.read_text(), file


def from_hub(run: RunFolder, tmp_path: Path, **options: object) -> Trained:
    """The run as if its backbone had come from the hub, which tests cannot reach."""
    trained = open_trained(run)
    backbone = trained.config.backbone.model_copy(update={"name": "facebook/dinov2-small", **options})
    changed = trained.config.model_copy(update={"backbone": backbone})
    save_config(changed, tmp_path / "config.yaml")
    return replace(trained, config=load_config(tmp_path / "config.yaml"))


def test_a_base_of_the_hub_is_linked(finished_run: RunFolder, tmp_path: Path) -> None:
    trained = from_hub(finished_run, tmp_path, revision="abc123")
    card = write_adapter(trained, tmp_path / "out")
    parsed = ModelCard(card_text(card, trained))
    assert (parsed.data.library_name, parsed.data.pipeline_tag) == ("peft", "image-feature-extraction")
    assert (parsed.data.base_model, parsed.data.base_model_relation) == ("facebook/dinov2-small", "adapter")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("facebook/dinov2-small", "abc123")
    assert 'base = "facebook/dinov2-small"\n' in card.code
    assert 'revision="abc123"' in card.code


def test_a_resized_base_is_said(finished_run: RunFolder, tmp_path: Path) -> None:
    card = write_adapter(from_hub(finished_run, tmp_path, patch_size=16), tmp_path / "out")
    assert "was resized first (patch_size 16)" in card.notes[-1]


def test_a_run_that_is_not_judged_yet_can_be_exported(finished_run: RunFolder, tmp_path: Path) -> None:
    trained = open_trained(finished_run)
    unjudged = replace(trained, scores=None)
    assert "Not judged yet." in card_text(write_adapter(unjudged, tmp_path / "out"), unjudged)
