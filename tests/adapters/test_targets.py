import pytest
import torch
from torch import nn
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.adapters.options import MethodOptions
from minorkey.adapters.selection import adapted_targets
from minorkey.adapters.targets import find_targets
from minorkey.errors import AdapterError

TRANSFORMERS = ["dinov2", "beit", "swin"]
VIT_ROLES = ["q", "k", "v", "out", "fc1", "fc2"]


class Plain(nn.Module):
    """A network of someone's own, with names that no table knows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.ModuleDict({"up": nn.Linear(4, 8), "down": nn.Linear(8, 4)}) for _ in range(3))
        self.final = nn.ModuleDict({"up": nn.Linear(4, 4)})


def in_block(**modules: nn.Module) -> nn.Module:
    """A network of one block that holds these."""
    return nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict(modules)])})


@pytest.mark.parametrize("architecture", TRANSFORMERS)
def test_every_role_is_found_once_in_every_block(tiny, architecture: str) -> None:
    targets = find_targets(tiny(architecture))
    found = [(target.block, target.role) for target in targets]
    assert sorted(found) == sorted((block, role) for block in range(3) for role in VIT_ROLES)


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


def test_first_block_past_the_last_is_refused(tiny) -> None:
    with pytest.raises(AdapterError, match=r"first_block 3 leaves nothing .* has 3 blocks; .* 0 \.\.\. 2"):
        adapted_targets(tiny("dinov2"), MethodOptions(rank=4, first_block=3))


def test_rank_beyond_a_layer_names_the_layer(tiny) -> None:
    with pytest.raises(AdapterError, match=r"rank 25 .* 'encoder.layer.1.attention.q_proj' of size 24 x 24; .* 24"):
        adapted_targets(tiny("dinov2"), MethodOptions(rank=25))


def test_own_names_are_found() -> None:
    targets = find_targets(Plain(), layers={"fc1": ("up",), "fc2": ("body.#.down",)})
    assert [(target.name, target.role, target.block) for target in targets] == [
        ("body.0.up", "fc1", 0),
        ("body.0.down", "fc2", 0),
        ("body.1.up", "fc1", 1),
        ("body.1.down", "fc2", 1),
        ("body.2.up", "fc1", 2),
        ("body.2.down", "fc2", 2),
        ("final.up", "fc1", 3),
    ]


def test_own_names_come_beside_those_of_the_table() -> None:
    network = in_block(fc=nn.Linear(4, 4), pwconv1=nn.Linear(4, 4))
    assert [target.role for target in find_targets(network, layers={"out": ("fc",)})] == ["out", "fc1"]


def test_own_name_without_a_layer_is_refused() -> None:
    with pytest.raises(AdapterError, match=r"no layer of Plain can be adapted under the given name 'uo'; .* body.0.up"):
        find_targets(Plain(), layers={"fc1": ("up", "uo")})


def test_own_names_are_part_of_the_method() -> None:
    options = MethodOptions(rank=2, first_block=1, roles=["fc1"], layers={"fc1": ("up",)})
    assert [target.name for target in adapted_targets(Plain(), options)] == ["body.1.up", "body.2.up", "final.up"]


@pytest.mark.parametrize(
    "settings", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect", "padding": 1}], ids=lambda s: next(iter(s))
)
def test_convolutions_that_peft_cannot_adapt_are_left_out(settings: dict) -> None:
    network = in_block(conv1=nn.Conv2d(4, 4, 3), conv2=nn.Conv2d(4, 4, 3, **settings))
    assert [target.name for target in find_targets(network)] == ["layers.0.conv1"]
    with pytest.raises(AdapterError, match=r"of a kind that cannot be adapted: layers.0.conv2"):
        find_targets(in_block(conv2=nn.Conv2d(4, 4, 3, **settings)), ["conv"])


def test_convolution_with_a_forward_of_its_own_is_left_out() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(x, self.weight / self.weight.std())

    with pytest.raises(AdapterError, match=r"of a kind that cannot be adapted: layers.0.conv1"):
        find_targets(in_block(conv1=Standardised(4, 4, 3)))


def test_layers_that_torch_reads_without_a_call_are_left_out() -> None:
    """Their adapters would be ignored: by attention always, by the encoder layer in its fast path."""
    network = in_block(self_attn=nn.MultiheadAttention(4, 2), pwconv1=nn.Linear(4, 4))
    assert [target.name for target in find_targets(network)] == ["layers.0.pwconv1"]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1, enable_nested_tensor=False)
    with pytest.raises(AdapterError, match=r"'linear1'; .* of a kind that cannot be adapted: .*layers.0.linear1"):
        find_targets(encoder, layers={"fc1": ("linear1",)})


def mlp_blocks() -> nn.Module:
    return nn.ModuleList(nn.ModuleDict({"pwconv1": nn.Linear(4, 4)}) for _ in range(2))


def test_fused_projections_of_grouped_queries_are_refused_and_other_roles_are_not() -> None:
    network = in_block(
        attn=nn.ModuleDict({"qkv": nn.Linear(8, 8 + 2 * 3)}), mlp=nn.ModuleDict({"fc1": nn.Linear(8, 8)})
    )
    with pytest.raises(AdapterError, match=r"'layers\.0\.attn\.qkv' has 14 rows, which cannot be 3 equal parts"):
        find_targets(network)
    assert [target.role for target in find_targets(network, ["fc1"])] == ["fc1"]


def test_tied_weights_are_refused() -> None:
    network = mlp_blocks()
    network[1]["pwconv1"].weight = network[0]["pwconv1"].weight
    with pytest.raises(AdapterError, match=r"weight of layer '0.pwconv1' is used in several places, expected a param"):
        adapted_targets(network, MethodOptions(rank=2, first_block=0))


def test_layer_that_stands_in_two_blocks_is_refused() -> None:
    network = mlp_blocks()
    network[1]["pwconv1"] = network[0]["pwconv1"]
    with pytest.raises(AdapterError, match=r"weight of layer '0.pwconv1' is used in several places"):
        adapted_targets(network, MethodOptions(rank=2, first_block=0))


def test_block_that_is_used_twice_has_each_of_its_layers_once() -> None:
    network = mlp_blocks()
    network[1] = network[0]
    assert [target.name for target in adapted_targets(network, MethodOptions(rank=2, first_block=0))] == ["0.pwconv1"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm], ids=["new", "old"])
def test_weights_that_are_computed_are_refused(norm) -> None:
    network = in_block(pwconv1=norm(nn.Linear(4, 4)))
    with pytest.raises(AdapterError, match=r"'layers.0.pwconv1' is computed from other parameters, as in weight norm"):
        adapted_targets(network, MethodOptions(rank=2))


def test_matrix_shape_of_a_convolution() -> None:
    (target,) = find_targets(in_block(conv1=nn.Conv2d(5, 7, 3)))
    assert target.matrix_shape == (7, 45)
    assert target.weight.shape == (7, 5, 3, 3)


def test_key_and_value_in_one_are_two_targets() -> None:
    network = in_block(attn=nn.ModuleDict({"q": nn.Linear(4, 4), "kv": nn.Linear(4, 6)}))
    _, k, v = find_targets(network)
    assert [(t.name, t.role, t.part) for t in (k, v)] == [
        ("layers.0.attn.kv.k", "k", (0, 2)),
        ("layers.0.attn.kv.v", "v", (1, 2)),
    ]
    assert torch.equal(torch.cat([k.weight, v.weight]), network.get_submodule("layers.0.attn.kv").weight)
    assert v.matrix_shape == (3, 4)


@pytest.mark.parametrize("ramp", [{3: 4}, {0: 2, 7: 4}])
def test_rank_ramp_past_the_last_block_is_refused(tiny, ramp: dict[int, int]) -> None:
    with pytest.raises(AdapterError, match=rf"rank_ramp names no block: {max(ramp)}, the backbone has 3 blocks; .* 2"):
        adapted_targets(tiny("dinov2"), MethodOptions(rank_ramp=ramp))


def test_rank_is_checked_block_by_block(tiny) -> None:
    options = MethodOptions(rank=25, rank_ramp={0: 24, 2: 25}, first_block=0)
    with pytest.raises(AdapterError, match=r"rank 25 .* 'encoder.layer.2.attention.q_proj'"):
        adapted_targets(tiny("dinov2"), options)
    assert len(adapted_targets(tiny("dinov2"), MethodOptions(rank=25, rank_ramp={0: 24}))) == 12


def test_role_that_only_earlier_blocks_have_is_refused() -> None:
    network = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"conv1": nn.Conv2d(4, 4, 1)})])})
    network["layers"].append(nn.ModuleDict({"pwconv1": nn.Linear(4, 4)}))
    with pytest.raises(AdapterError, match=r"first_block 1 leaves nothing .* 2 blocks; set first_block to 0 \.\.\. 0"):
        adapted_targets(network, MethodOptions(rank=2, roles=["conv"], first_block=1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tiny, value: float) -> None:
    backbone = tiny("dinov2")
    backbone.get_submodule("encoder.layer.2.mlp.fc1").weight.data[0, 0] = value
    with pytest.raises(AdapterError, match=r"'encoder.layer.2.mlp.fc1' has weights that are not finite"):
        adapted_targets(backbone, MethodOptions(rank=2))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused(dtype: torch.dtype) -> None:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(layer.weight.data.to(dtype), requires_grad=False)
    with pytest.raises(AdapterError, match=rf"'layers.0.pwconv1' has weights of {dtype} .* load the backbone unquant"):
        adapted_targets(in_block(pwconv1=layer), MethodOptions(rank=2))


def test_tensor_subclass_is_refused() -> None:
    class Packed(torch.Tensor):
        """How torchao and others keep quantised weights: it says float32."""

    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(layer.weight.data.as_subclass(Packed))
    with pytest.raises(AdapterError, match=r"weights of torch.float32 \(Packed\), expected a plain tensor"):
        adapted_targets(in_block(pwconv1=layer), MethodOptions(rank=2))


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_are_refused() -> None:
    network = torch.ao.quantization.quantize_dynamic(in_block(pwconv1=nn.Linear(4, 4)), {nn.Linear}, torch.qint8)
    with pytest.raises(AdapterError, match=r"'layers.0.pwconv1' is a .*quantized.*Linear, .*; load the backbone unq"):
        adapted_targets(network, MethodOptions(rank=2))
