"""What is particular to timm's networks; their rows in the table of families run with the other tests here."""

import copy

import pytest
import torch
from timm_families import TIMM_INSTALLED, VIT, create, pixels
from torch import Tensor, nn

from minorkey.adapters import MethodOptions, attach, fold
from minorkey.adapters.targets import find_targets

if not TIMM_INSTALLED:
    pytest.skip("timm is not installed here; run `make test-timm`", allow_module_level=True)

READS_WEIGHT = {"eva02": "eva02_tiny_patch14_224", "beit": "beit_base_patch16_224"}
"""Networks that read the weight of `qkv` past the layer, as their query and value have biases of their own."""


@pytest.fixture(params=READS_WEIGHT)
def network(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = create(READS_WEIGHT[request.param], **VIT).eval()
        for parameter in made.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return made


def output(network: nn.Module) -> Tensor:
    return network(**pixels())


def test_adapter_on_a_projection_that_timm_does_not_call_is_felt(network: nn.Module) -> None:
    pretrained = copy.deepcopy(network)
    attached = attach(network, MethodOptions(name="soma", rank=2, roles=["q", "k", "v"], first_block=0))
    assert torch.allclose(output(network), output(pretrained), atol=1e-5)
    output(network).square().mean().backward()
    for name, parameter in attached.trained_parameters().items():
        assert parameter.grad is not None, name


def test_folding_restores_how_timm_reads_it(network: nn.Module) -> None:
    pretrained = copy.deepcopy(network)
    attached = attach(network, MethodOptions(name="lora", rank=2, first_block=0))
    with torch.no_grad():
        for parameter in attached.trained_parameters().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        trained = output(network)
        fold(network)
        assert torch.allclose(output(network), trained, atol=1e-5)
        assert not torch.allclose(trained, output(pretrained), atol=1e-3)
    assert [module.__dict__.get("qkv_bias_separate") for module in network.modules()] == [
        module.__dict__.get("qkv_bias_separate") for module in pretrained.modules()
    ]
    assert list(network.state_dict()) == list(pretrained.state_dict())


def test_head_and_neck_are_no_targets() -> None:
    names = [target.name for target in find_targets(create("samvit_base_patch16", **VIT, global_attn_indexes=(1,)))]
    assert all(name.startswith("blocks.") for name in names)
