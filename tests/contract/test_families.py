"""Every network family has the layers that its row says, and an adapter on any of them is felt in the output."""

from collections import Counter

import pytest
import torch
from families import FAMILIES
from family import Family
from torch import Tensor, nn

from minorkey.adapters.targets import Target, find_targets

FUSED = [
    name for name in ("vitdet", "hiera", "sam", "timm vit", "timm sam", "timm swin", "timm pvtv2") if name in FAMILIES
]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def changed(one: list[Tensor], other: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))


@torch.no_grad()
def outputs_with_noise(family: Family, network: nn.Module, target: Target) -> list[Tensor]:
    """The output when a layer's call returns something else: that, and not its weight, is what an adapter changes."""

    def add_noise(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        index, count = target.part or (0, 1)
        noise = torch.zeros_like(output)
        rows = noise if target.part is None else noise.chunk(count, dim=-1)[index]
        rows.add_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)))
        return output + noise

    handle = target.module.register_forward_hook(add_noise)
    try:
        return family.outputs(network, family.inputs())
    finally:
        handle.remove()


def fused_parts(network: nn.Module) -> list[Target]:
    return [target for target in find_targets(network) if target.part is not None]


def test_every_role_is_found(family: Family) -> None:
    targets = find_targets(family.build())
    assert Counter(target.role for target in targets) == family.counts
    assert {target.block for target in targets} == set(range(family.blocks))
    assert len({target.name for target in targets}) == len(targets)


def test_each_role_is_found_alone(family: Family) -> None:
    network = family.build()
    for role, count in family.counts.items():
        assert [target.role for target in find_targets(network, [role])] == [role] * count


def test_every_layer_is_called_and_reaches_the_output(family: Family) -> None:
    network = family.build()
    with torch.no_grad():
        before = family.outputs(network, family.inputs())
    for target in find_targets(network):
        assert changed(outputs_with_noise(family, network, target), before) > 1e-4, target.name


def test_build_is_the_same_every_time(family: Family) -> None:
    one, other = family.build().state_dict(), family.build().state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("name", FUSED)
def test_parts_of_a_fused_projection_are_query_key_and_value(name: str) -> None:
    """The softmax takes no notice of a vector added to every key, as it does of one added to queries or values."""
    family = FAMILIES[name]
    for target in fused_parts(family.build()):
        network = family.build()
        with torch.no_grad():
            before = family.outputs(network, family.inputs())
            layer = network.get_submodule(target.name.rpartition(".")[0])
            index, count = target.part
            layer.bias.chunk(count)[index].add_(torch.arange(layer.out_features // count) / 10)
            difference = changed(family.outputs(network, family.inputs()), before)
        assert (difference < 1e-4) == (target.role == "k"), target.name


@pytest.mark.parametrize("name", FUSED)
def test_weight_of_a_part_is_a_view_of_its_rows(name: str) -> None:
    layers: dict[str, list[Target]] = {}
    for target in fused_parts(FAMILIES[name].build()):
        layer, _, part = target.name.rpartition(".")
        assert part == target.role
        layers.setdefault(layer, []).append(target)
    for parts in layers.values():
        assert torch.equal(torch.cat([part.weight for part in parts]), parts[0].module.weight)
        assert all(part.weight.untyped_storage().data_ptr() == part.module.weight.data_ptr() for part in parts)
