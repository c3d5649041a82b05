import copy

import pytest
import torch
from safetensors.torch import load, save

from minorkey.adapters.attach import attach
from minorkey.adapters.options import MethodOptions
from minorkey.adapters.specs import METHODS
from minorkey.errors import AdapterError


def _options(name: str, rank: int = 4) -> MethodOptions:
    return MethodOptions(name=name, rank=rank, alpha=8.0)


def _trained_state(backbone, train, name: str) -> dict[str, torch.Tensor]:
    attached = attach(backbone, _options(name))
    train(backbone)
    return load(save(attached.state_dict()))  # through a file's bytes


@pytest.mark.parametrize("name", METHODS)
def test_resumed_backbone_is_the_same_bit_for_bit(small_backbone, train, name: str) -> None:
    backbone, untouched = small_backbone, copy.deepcopy(small_backbone)
    state = _trained_state(backbone, train, name)
    attach(untouched, _options(name), state=state)
    original, resumed = backbone.state_dict(), untouched.state_dict()
    assert original.keys() == resumed.keys()
    assert all(torch.equal(original[key], resumed[key]) for key in original)


@pytest.mark.parametrize("name", ["soma", "pissa"])
def test_frozen_weights_follow_the_stored_factors_not_a_new_decomposition(tiny, train, name: str) -> None:
    """Another machine's SVD may differ in the last bit; here the stored factors have their signs turned."""
    state = _trained_state(tiny("dinov2"), train, name)
    turned = {key: -t if key.startswith("initial.") else t for key, t in state.items()}
    turned = {key: t * 1.5 if key.endswith(".A") else t for key, t in turned.items()}
    backbone = tiny("dinov2")
    layer = "encoder.layer.1.mlp.fc1"
    expected = backbone.get_submodule(layer).weight.double() - 2.0 * (
        turned[f"initial.{layer}.B"].double() @ turned[f"initial.{layer}.A"].double()
    )
    attached = attach(backbone, _options(name), state=turned)
    assert torch.equal(backbone.get_submodule(layer).base_layer.weight, expected.float())
    assert all(torch.equal(tensor, turned[key]) for key, tensor in attached.state_dict().items())


def test_state_is_of_adapter_size(tiny) -> None:
    backbone = tiny("dinov2")
    weights = sum(p.numel() for p in backbone.parameters())
    attached = attach(backbone, MethodOptions(rank=1))
    assert sum(tensor.numel() for tensor in attached.state_dict().values()) < weights / 3
    assert attach(tiny("dinov2"), _options("frozen")).state_dict() == {}


def test_loading_into_another_decomposition_is_refused(tiny, train) -> None:
    state = _trained_state(tiny("dinov2"), train, "soma")
    backbone = tiny("dinov2")
    with torch.no_grad():
        backbone.get_submodule("encoder.layer.2.mlp.fc2").weight.mul_(1.1)
    attached = attach(backbone, _options("soma"))
    with pytest.raises(AdapterError, match=r"'initial.encoder.layer.2.mlp.fc2.A' differs .* attach\(\.\.\., state="):
        attached.load_state_dict(state)


def test_state_of_another_method_is_refused(tiny, train) -> None:
    state = _trained_state(tiny("dinov2"), train, "lora")
    with pytest.raises(AdapterError, match=r"the checkpoint lacks tensor 'initial.*of another method or backbone"):
        attach(tiny("dinov2"), _options("soma"), state=state)
    with pytest.raises(AdapterError, match=r"the checkpoint has an unexpected tensor 'trained.*names differ"):
        attach(tiny("dinov2"), _options("frozen"), state=state)


@pytest.mark.parametrize("name", ["soma", "lora"])
def test_state_of_another_rank_is_refused(tiny, train, name: str) -> None:
    state = _trained_state(tiny("dinov2"), train, name)
    with pytest.raises(AdapterError, match=r"has shape \(4, 24\), expected \(3, 24\); it is of another rank"):
        attach(tiny("dinov2"), _options(name, rank=3), state=state)
