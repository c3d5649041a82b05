"""Heads that classify masks, from configuration to prediction."""

import json
import shutil

import numpy as np
import pytest
import torch

from minorkey.errors import ConfigError
from minorkey.models.build import backbone_of, head_state
from minorkey.models.options import HeadOptions
from minorkey.regimes.base import Setup
from minorkey.regimes.supervised import Supervised
from minorkey.runs.load import load
from minorkey.runs.train import train
from minorkey.system.storage import read_tensors
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.optim import param_groups

SMALL = {"channels": 32, "queries": 6, "points": 50, "decoder_layers": 2, "encoder_layers": 1}


@pytest.fixture(scope="module", params=["mask2former", "eomt"])
def run(request, make_config, backbone_folder, tmp_path_factory):
    """A finished run of four steps, its checkpoints after two and four."""
    config = make_config(
        head={"name": request.param, **SMALL},
        backbone={"name": str(backbone_folder), "image_size": 32},
    )
    folder = tmp_path_factory.mktemp("masks") / request.param
    return config, folder, train(config, folder)


def test_a_window_that_an_eomt_cannot_take_is_refused_before_it_trains(make_config):
    with pytest.raises(ConfigError, match=r"window is \[64, 64\], but eomt takes .* crops alone, \[32, 32\]; leave"):
        make_config(head={"name": "eomt", **SMALL}, evaluation={"window": [64, 64]})


def test_loss_is_logged_by_its_terms(run):
    line = json.loads((run[1] / "log.jsonl").read_text().splitlines()[0])
    terms = [line[f"loss_{name}"] for name in ("cross_entropy", "mask", "dice")]
    assert min(terms) > 0
    assert line["loss"] == pytest.approx(sum(terms), rel=1e-5)


def test_prediction_of_any_size_has_probabilities(run):
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    predictor = load(run[1], device="cpu")
    prediction = predictor.predict(image, probabilities=True)
    assert prediction.labels.shape == (40, 70)
    assert np.abs(prediction.probabilities.sum(0) - 1).max() < 1e-5
    assert np.array_equal(prediction.probabilities.argmax(0), prediction.labels)
    again = load(run[1], device="cpu").predict(image)
    assert np.array_equal(again.labels, prediction.labels)


def test_stopped_run_goes_on_bit_for_bit(run, tmp_path):
    config, finished, _ = run
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    for name in ("adapter", "checkpoints/step-0000004"):
        shutil.rmtree(folder / name)
    for name in ("head.safetensors", "training.json", "metrics.json"):
        (folder / name).unlink()
    train(config, folder, resume=True)
    for name in ("head.safetensors", "adapter/adapter_model.safetensors"):
        expected, tensors = read_tensors(finished / name), read_tensors(folder / name)
        assert expected.keys() == tensors.keys()
        assert all(torch.equal(tensors[key], value) for key, value in expected.items())


@pytest.fixture
def eomt(make_backbone):
    from transformers import Dinov2Backbone

    backbone = Dinov2Backbone.from_pretrained(make_backbone("small", image_size=32))
    return Segmentation().build(backbone, HeadOptions(name="eomt", **SMALL), 3, seed=0)


def test_regime_anneals_the_masks_of_an_eomt(eomt):
    regime = Supervised(Setup(Segmentation(), eomt, attached=None, classes=3, steps=6))
    regime.after_step(3)
    torch.testing.assert_close(eomt.attn_mask_probs, torch.tensor([0.5**0.9]))  # half way from 1/3 to 2/3
    regime.after_step(4)
    assert not eomt.attn_mask_probs.any()


def test_norms_queries_and_levels_are_not_decayed(make_backbone, eomt):
    from transformers import Dinov2Backbone

    backbone = Dinov2Backbone.from_pretrained(
        make_backbone("large", image_size=32), out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    model = Segmentation().build(backbone, HeadOptions(name="mask2former", **SMALL), 3, seed=0)
    for network, expected in (
        (model, {"queries_embedder.weight", "queries_features.weight", "level_embed", "level_embed.weight"}),
        (eomt, {"query.weight"}),
    ):
        backbone_of(network).requires_grad_(False)
        groups = param_groups(network, lr=1.0, weight_decay=0.1)
        free = {name for group in groups if not group["weight_decay"] for name in group["names"]}
        assert {name for name in free if "norm" not in name and ".1." not in name} == {
            name for name in head_state(network) if name.endswith(tuple(expected))
        }
        assert len({name for name in free if name.endswith(tuple(expected))}) == len(expected)
