"""The names that layers of known networks have, by what they do in a block."""

from collections.abc import Mapping

from minorkey.adapters.options import Role

Layers = Mapping[Role, tuple[str, ...]]
"""Role -> names of layers; `#` stands for any number."""

ROLES: Layers = {
    "q": (
        "attention.q_proj", "attention.query", "attention.attention.query",
        "attention.self.query", "self_attn.q_proj", "attn.q_proj", "attn.q",
        "attn1.to_q", "attn2.to_q",
    ),
    "k": (
        "attention.k_proj", "attention.key", "attention.attention.key",
        "attention.self.key", "self_attn.k_proj", "attn.k_proj",
        "attn1.to_k", "attn2.to_k",
    ),
    "v": (
        "attention.v_proj", "attention.value", "attention.attention.value",
        "attention.self.value", "self_attn.v_proj", "attn.v_proj",
        "attn1.to_v", "attn2.to_v",
    ),
    "out": (
        "attention.o_proj", "attention.out_proj", "attention.proj", "attention.output.dense", "self_attn.out_proj",
        "attn.proj", "attn1.to_out.0", "attn2.to_out.0",
    ),
    "fc1": (
        "mlp.fc1", "mlp.gate_proj", "mlp.up_proj", "mlp.dense1", "mlp.lin1", "intermediate.dense",
        "pwconv1", "pointwise_conv1", "mlp.fc1_g", "mlp.fc1_x", "mlp.weights_in", "ff.net.0.proj",
    ),
    "fc2": (
        "mlp.fc2", "mlp.down_proj", "mlp.dense2", "mlp.lin2", "mlp.weights_out", "output.dense",
        "pwconv2", "pointwise_conv2", "ff.net.2",
    ),
    "conv": (
        "layer.#.convolution", "shortcut.convolution", "shortcut.#.convolution",
        "layers.#.convolution", "layers.#.conv1.convolution", "aggregation.#.convolution",
        "expand_1x1.convolution", "reduce_1x1.convolution", "convolution",
        "conv1", "conv2", "conv3", "conv_shortcut", "downsample.0",
        "conv_pw", "conv_pwl", "pw_exp.conv", "pw_proj.conv",
        "residual.conv1", "residual.conv2", "residual.conv3",
        "attention.spatial_reduction", "attention.sequence_reduction.sequence_reduction", "attn.sr",
    ),
}  # fmt: skip
"""Where layers of a role are within a block: the whole path after its number, so that a patch embedding's
`projection`, a `pooler.dense` or a stage's `downsample` do not match. A gated MLP has two first layers."""

FUSED: Mapping[str, tuple[Role, ...]] = {
    "attention.qkv": ("q", "k", "v"),
    "attn.qkv": ("q", "k", "v"),
    "attn.kv": ("k", "v"),
}
"""Projections that hold several matrices in one, in the order of their rows; each part is a target of its own."""


def fused_roles(layer: str) -> tuple[Role, ...]:
    """What a fused projection of this name holds, in the order of its rows."""
    return next(roles for path, roles in FUSED.items() if layer.endswith(path))
