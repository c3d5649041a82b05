import math

import numpy as np
import pytest
import torch

from minorkey.regimes.self_training.feature_distance import FeatureHead, feature_distance


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, 3, 5, generator=generator) for _ in range(2)]


def test_distance_against_a_loop(maps):
    ours, theirs = (each.double().numpy() for each in maps)
    total = 0.0
    for i, y, x in np.ndindex(2, 3, 5):
        a, b = ours[i, :, y, x], theirs[i, :, y, x]
        total += 1 - sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))
    torch.testing.assert_close(feature_distance(*maps).item(), total / 30, rtol=1e-5, atol=1e-6)


def test_same_direction_is_no_distance_and_the_opposite_two(maps):
    torch.testing.assert_close(feature_distance(maps[0], 3 * maps[0]).item(), 0.0, rtol=0, atol=1e-6)
    torch.testing.assert_close(feature_distance(maps[0], -maps[0]).item(), 2.0)


def test_pretrained_features_are_constants(maps):
    ours, theirs = (each.requires_grad_() for each in maps)
    feature_distance(ours, theirs).backward()
    assert ours.grad is not None
    assert theirs.grad is None


def test_the_head_starts_as_the_identity_and_learns(maps):
    torch.manual_seed(0)
    head = FeatureHead(4)
    assert torch.equal(head(maps[0]), maps[0])
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    start = feature_distance(head(maps[0]), maps[1]).item()
    for _ in range(100):
        optimizer.zero_grad()
        feature_distance(head(maps[0]), maps[1]).backward()
        optimizer.step()
    assert feature_distance(head(maps[0]), maps[1]).item() < 0.8 * start


def test_the_head_is_a_formula_of_each_position(maps):
    torch.manual_seed(0)
    head = FeatureHead(4)
    torch.nn.init.normal_(head.project.weight)
    torch.nn.init.normal_(head.project.bias)
    first, second = (layer.weight.detach().double().numpy()[:, :, 0, 0] for layer in (head.expand, head.project))
    out = head(maps[0]).detach().double().numpy()
    for i, y, x in np.ndindex(2, 3, 5):
        vector = maps[0].double().numpy()[i, :, y, x]
        hidden = first @ vector + head.expand.bias.detach().double().numpy()
        hidden = np.array([h * 0.5 * (1 + math.erf(h / math.sqrt(2))) for h in hidden])
        expected = vector + second @ hidden + head.project.bias.detach().double().numpy()
        np.testing.assert_allclose(out[i, :, y, x], expected, rtol=1e-4, atol=1e-5)
