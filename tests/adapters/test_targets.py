import pytest
import torch
from torch import nn
from transformers import Dinov2Backbone, Dinov2Config, VitDetBackbone, VitDetConfig

from minorkey.adapters.options import MethodOptions
from minorkey.adapters.targets import ROLES, adapted_targets, find_targets
from minorkey.errors import AdapterError

TRANSFORMERS = ["dinov2", "beit", "swin"]


@pytest.mark.parametrize("architecture", TRANSFORMERS)
def test_every_role_is_found_once_in_every_block(tiny, architecture: str) -> None:
    targets = find_targets(tiny(architecture))
    found = [(target.block, target.role) for target in targets]
    assert sorted(found) == sorted((block, role) for block in range(3) for role in ROLES)


def test_gated_mlp_has_two_first_layers(tiny) -> None:
    names = [target.name for target in find_targets(tiny("dinov2_gated"), ["fc1"]) if target.block == 0]
    assert names == ["encoder.layer.0.mlp.gate_proj", "encoder.layer.0.mlp.up_proj"]


def test_convnext_has_mlp_layers_only(tiny) -> None:
    targets = find_targets(tiny("convnext"))
    assert {target.role for target in targets} == {"fc1", "fc2"}
    assert {target.block for target in targets} == {0, 1, 2}


@pytest.mark.parametrize("architecture", [*TRANSFORMERS, "dinov2_gated", "convnext"])
def test_only_layers_inside_blocks_are_found(tiny, architecture: str) -> None:
    names = [target.name for target in find_targets(tiny(architecture))]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "embed" in name or "downsampl" in name or "projection" in name]


def test_blocks_of_swin_are_counted_over_stages(tiny) -> None:
    blocks = {target.name.partition(".attention")[0]: target.block for target in find_targets(tiny("swin"), ["q"])}
    assert blocks == {
        "swin.encoder.layers.0.blocks.0": 0,
        "swin.encoder.layers.1.blocks.0": 1,
        "swin.encoder.layers.1.blocks.1": 2,
    }


def test_a_target_names_its_module(backbone: nn.Module) -> None:
    for target in find_targets(backbone):
        assert backbone.get_submodule(target.name) is target.module


def test_names_hold_under_a_wrapper(tiny) -> None:
    wrapper = nn.ModuleDict({"backbone": tiny("dinov2")})
    inner = find_targets(wrapper["backbone"])
    outer = find_targets(wrapper)
    assert [f"backbone.{target.name}" for target in inner] == [target.name for target in outer]
    assert [target.block for target in inner] == [target.block for target in outer]


def test_method_takes_its_roles_from_its_first_block_on(tiny) -> None:
    options = MethodOptions(rank=4, first_block=2, roles=["q", "v"])
    targets = adapted_targets(tiny("dinov2"), options)
    assert [(target.block, target.role) for target in targets] == [(2, "q"), (2, "v")]


@pytest.mark.parametrize(
    ("hidden", "layers", "heads", "first_block", "low_rank", "bias"),
    [(1024, 24, 16, None, 4_718_592, 147_456), (768, 12, 12, 2, 2_211_840, 69_120)],
    ids=["vit-large", "vit-base"],
)
def test_trained_counts_are_those_of_the_paper(hidden, layers, heads, first_block, low_rank, bias) -> None:
    """4.72 M low-rank and 0.147 M bias values in DINOv2 ViT-L, 2.3 M together in ViT-B."""
    config = Dinov2Config(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads)
    with torch.device("meta"):
        backbone = Dinov2Backbone(config)
    targets = adapted_targets(backbone, MethodOptions(first_block=first_block))
    assert sum(16 * sum(target.matrix_shape) for target in targets) == low_rank
    assert sum(target.module.bias.numel() for target in targets) == bias


def test_no_match_names_the_layers_seen() -> None:
    network = nn.ModuleDict({f"layer{i}": nn.Linear(2, 2) for i in range(20)})
    with pytest.raises(AdapterError, match=r"no layer of ModuleDict .* layers seen: layer0, .* and 8 more"):
        find_targets(network)


def test_missing_role_is_named(tiny) -> None:
    with pytest.raises(AdapterError, match="no layer of ConvNextBackbone has the role q; layers seen: embeddings"):
        find_targets(tiny("convnext"), ["q"])


def test_fused_query_key_value_is_refused() -> None:
    backbone = VitDetBackbone(VitDetConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=32))
    with pytest.raises(AdapterError, match=r"'encoder.layer.0.attention.qkv' holds query, key and value in one"):
        find_targets(backbone)


def test_first_block_past_the_last_is_refused(tiny) -> None:
    with pytest.raises(AdapterError, match=r"first_block 3 leaves nothing .* has 3 blocks; .* 0 \.\.\. 2"):
        adapted_targets(tiny("dinov2"), MethodOptions(rank=4, first_block=3))


def test_rank_beyond_a_layer_names_the_layer(tiny) -> None:
    with pytest.raises(AdapterError, match=r"rank 25 .* 'encoder.layer.1.attention.q_proj' of size 24 x 24; .* 24"):
        adapted_targets(tiny("dinov2"), MethodOptions(rank=25))
