"""Features before and after: the measures by hand, the recorded blocks against the network's own hidden states."""

import numpy as np
import pytest
import torch
from torch import nn

from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions
from minorkey.runs.assemble import build_network, open_judged
from minorkey.runs.load import predictor_for
from minorkey.spectrum.blocks import as_tokens, container, recorded_blocks
from minorkey.spectrum.drift import linear_cka, measure_drift, token_drift


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def test_scaled_tokens_change_in_size_but_not_in_angle():
    tokens = normal(20, 6)
    assert token_drift(tokens, 1.5 * tokens) == pytest.approx((0.5, 0, 1), abs=1e-6)


def test_angle_is_averaged_over_tokens():
    before = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    after = torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    change, angle, _ = token_drift(before, after)
    assert (change, angle) == pytest.approx(((2 / 10) ** 0.5, 0.5))


def test_linear_cka_is_that_of_centred_gram_matrices():
    x, y = normal(15, 4), normal(15, 7, seed=1)
    centre = np.eye(15) - 1 / 15
    k, m = (centre @ each.numpy() @ each.numpy().T @ centre for each in (x, y))
    assert linear_cka(x, y) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()), rel=1e-4)
    turn = torch.linalg.qr(normal(4, 4, seed=2))[0]
    assert linear_cka(x, 3 * x @ turn + 1) == pytest.approx(1, abs=1e-5)


def test_features_of_a_single_place_have_a_similarity():
    assert token_drift(normal(1, 6), normal(1, 6, seed=1))[2] == 1
    assert linear_cka(normal(5, 6), torch.ones(5, 6)) == 0
    assert token_drift(torch.zeros(3, 6), torch.zeros(3, 6))[0] == 0


def test_the_recorded_blocks_are_the_hidden_states(backbone_folder):
    network = load_backbone(BackboneOptions(name=str(backbone_folder))).network
    pixel_values = normal(1, 3, 32, 48)
    with torch.inference_mode(), recorded_blocks(network) as tokens:
        states = network(pixel_values, output_hidden_states=True).hidden_states
    assert list(tokens) == [0, 1, 2, 3]
    for block, state in zip(tokens, states[1:], strict=True):
        torch.testing.assert_close(tokens[block], state[0])
    tokens.clear()
    network(pixel_values)
    assert not tokens


def test_a_convolutional_block_has_its_places_as_tokens():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(2, 5, 1)

        def forward(self, maps):
            return self.conv1(maps)

    network = nn.Sequential(Block())
    with recorded_blocks(network) as tokens:
        maps = network(normal(1, 2, 3, 4))
    assert tokens[0].shape == (12, 5)
    torch.testing.assert_close(tokens[0][7], maps[0, :, 1, 3])


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 2, 3, 4), (2, 4, 2, 3)])
def test_tokens_have_their_channels_last(shape):
    assert as_tokens(torch.zeros(shape), channels=4, convolves=False).shape == (12, 4)
    assert as_tokens((torch.zeros(shape), None), channels=4, convolves=True).shape == (12, 4)


def test_a_map_as_high_and_wide_as_it_is_deep_is_read_as_its_block_writes_it():
    maps = normal(1, 4, 4, 4)
    assert torch.equal(as_tokens(maps, channels=4, convolves=False), maps.reshape(16, 4))
    assert torch.equal(as_tokens(maps, channels=4, convolves=True), maps.permute(0, 2, 3, 1).reshape(16, 4))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["layer.3.attention.q_proj", "layer.3.mlp.fc1"], "layer.3"),
        (["stages.1.layers.0.layer.0.convolution", "stages.1.layers.0.layer.1.convolution"], "stages.1.layers.0"),
        (["blocks.3.attn.qkv.q"], "blocks.3"),
        (["head.up", "head.down"], "head"),
    ],
)
def test_a_block_is_the_innermost_numbered_module_around_its_layers(names, expected):
    assert container(names) == expected


DETECTOR = {"head": {"name": "atss", "channels": 32, "decoder_layers": 1}, "label_space": "weather7"}


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (1, 3, 52, 100)),
        ({"evaluation": {"resize": 50}}, (1, 3, 26, 50)),
        ({"evaluation": {"window": [32, 32], "stride": [32, 32]}}, (1, 3, 32, 32)),
        ({"task": "detection", **DETECTOR}, (1, 3, 64, 128)),
        ({"transform": {"crop": [16, 16]}}, (1, 3, 16, 16)),
    ],
    ids=["whole", "resized", "windows", "padded for a detector", "tiles"],
)
def test_images_are_seen_as_the_run_predicts_them(make_config, console, changes, shape):
    config = make_config(world={"size": [100, 52], "train_count": 2, "eval_count": 2}, **changes)
    space = label_space(config.label_space)
    network = build_network(config, space)
    predictor = predictor_for(config, network, space)
    seen = []
    network.model.register_forward_pre_hook(
        lambda _, inputs, named: seen.append(named["pixel_values"]), with_kwargs=True
    )
    domains = [domain for domain in open_judged(config, space, console) if domain.role == "unseen"]
    drift = measure_drift(build_network(config, space).model, predictor, domains, console=console)
    assert tuple(seen[-1].shape) == shape
    assert [(row.domain, row.images, row.change) for row in drift] == [("night", 2, 0.0)] * 4
