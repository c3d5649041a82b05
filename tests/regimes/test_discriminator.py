import pytest
import torch
from torch import nn

from minorkey.regimes.transda.discriminator import Discriminator, frozen_call


@pytest.fixture
def features():
    return torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def discriminator():
    torch.manual_seed(0)
    return Discriminator(4, outputs=6).double()


def test_layers_are_those_of_the_paper(discriminator, features):
    convolutions = [module for module in discriminator if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convolutions] == [(4, 4), (4, 2), (2, 6)]
    assert {conv.kernel_size for conv in convolutions} == {(3, 3)}
    assert [module.negative_slope for module in discriminator if isinstance(module, nn.LeakyReLU)] == [0.2, 0.2]
    assert discriminator(features).shape == (1, 6, 3, 5)


def test_gradient_reaches_the_features_alone(discriminator, features):
    features.requires_grad_()
    frozen_call(discriminator, features).square().sum().backward()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in discriminator.parameters())
    with torch.no_grad():
        for place in ((0, 0, 0, 0), (0, 3, 2, 4), (0, 1, 1, 2)):
            step = torch.zeros_like(features)
            step[place] = 1e-5
            rise = discriminator(features + step).square().sum() - discriminator(features - step).square().sum()
            torch.testing.assert_close(features.grad[place], rise / 2e-5, rtol=1e-6, atol=1e-8)


def test_a_frozen_call_gives_the_same_values(discriminator, features):
    assert torch.equal(frozen_call(discriminator, features), discriminator(features))


def test_the_parameters_still_learn_elsewhere_in_the_same_step(discriminator, features):
    adversarial = frozen_call(discriminator, features.clone().requires_grad_()).sum()
    adversarial.backward()
    discriminator(features).sum().backward()
    learned = [parameter.grad.clone() for parameter in discriminator.parameters()]
    discriminator.zero_grad()
    discriminator(features).sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(learned, discriminator.parameters(), strict=True))
