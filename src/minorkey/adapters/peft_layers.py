"""PEFT's layers inside a network: put in, looked at, taken out."""

import re
import warnings
from collections.abc import Collection

import torch
from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.ln_tuning.layer import LNTuningLayer
from peft.tuners.lora import Linear, LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from minorkey.adapters.fused import fuse_all
from minorkey.adapters.hooks import hand_over_hooks
from minorkey.adapters.merged_linear import MergedLinear
from minorkey.adapters.norms import NORMS

ADAPTER = "default"  # PEFT's name for the only adapter of a network

GEOMETRY = ("kernel_size", "stride", "dilation")
"""What some networks read off a convolution before they call it, to pad as TensorFlow does; PEFT hides it."""


def inject(network: nn.Module, config: PeftConfig, names: Collection[str]) -> None:
    """Let PEFT wrap exactly the named layers; what it adds is in the layer's mode, and float32 at least.

    But for norms that are none of torch's: these may multiply by their weights, and hand on what that gives.
    """
    config.target_modules = exact_names(network, names)
    with warnings.catch_warnings():
        # PEFT knows the sizes of linear layers and convolutions only, and says so of every normalisation layer.
        warnings.filterwarnings("ignore", message="Unsupported layer type")
        inject_adapter_in_model(config, network, adapter_name=ADAPTER)
    layers = tuner_layers(network)
    assert layers.keys() == set(names), "PEFT found other layers than those named"
    for layer in layers.values():
        base = layer.get_base_layer()
        layer.train(base.training)
        hand_over_hooks(base, layer)
        if type(layer) is Linear:
            layer.__class__ = MergedLinear  # all that it holds is PEFT's; only the way to its output is another
        if isinstance(base, nn.Conv2d):
            layer.__dict__.update({name: getattr(base, name) for name in GEOMETRY})
        if isinstance(layer, LNTuningLayer):
            if isinstance(base, NORMS):
                copy = layer.ln_tuning_layers[ADAPTER]  # statistics of batches as well
                copy.to(torch.promote_types(next(copy.parameters()).dtype, torch.float32))
            continue
        for parameter in added_parameters(layer).values():
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))


def exact_names(network: nn.Module, names: Collection[str]) -> list[str] | str:
    """`names` as PEFT's `target_modules`: a list, or a pattern where the list would match further layers.

    PEFT takes the names of a list as endings too.
    """
    endings = tuple(f".{name}" for name in names)
    if any(name.endswith(endings) for name, _ in network.named_modules()):
        return "|".join(re.escape(name) for name in sorted(names))
    return sorted(names)


def tuner_layers(network: nn.Module) -> dict[str, BaseTunerLayer]:
    """The layers that PEFT has wrapped, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, BaseTunerLayer)}


def low_rank_layer(network: nn.Module, name: str) -> LoraLayer:
    """The low-rank layer of that name."""
    layer = network.get_submodule(name)
    assert isinstance(layer, LoraLayer)
    return layer


def factors(layer: LoraLayer) -> tuple[nn.Parameter, nn.Parameter]:
    """`A` and `B` of a low-rank layer, in the shapes of its kind (linear or convolution)."""
    return layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight


def added_parameters(layer: BaseTunerLayer) -> dict[str, nn.Parameter]:
    """The parameters that PEFT has added to a layer, by their name in it."""
    return {name: p for name, p in layer.named_parameters() if name.startswith(tuple(layer.adapter_layer_names))}


def remove(network: nn.Module) -> None:
    """Put the plain layers back, as they are now; nothing of PEFT or of ours stays in the network."""
    for name, layer in tuner_layers(network).items():
        base = layer.get_base_layer()
        hand_over_hooks(layer, base)
        network.set_submodule(name, base)
    fuse_all(network)
    for module in network.modules():
        module.__dict__.pop("peft_config", None)  # PEFT's mark on the module that it injected into
