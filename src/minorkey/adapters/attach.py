"""Put an adapter into a network, in place."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from peft import LNTuningConfig, LoraConfig
from torch import Tensor, nn

from minorkey.adapters.attached import OTHER, Attached
from minorkey.adapters.fused import split
from minorkey.adapters.inits import Factors, as_lora_starts, dead_parts, residual_weight, start_factors
from minorkey.adapters.merged_linear import MergedLinear
from minorkey.adapters.norms import find_norms
from minorkey.adapters.options import MethodOptions
from minorkey.adapters.peft_layers import added_parameters, factors, inject, low_rank_layer, remove, tuner_layers
from minorkey.adapters.roles import fused_roles
from minorkey.adapters.selection import adapted_targets
from minorkey.adapters.shared_input import share_inputs
from minorkey.adapters.targets import Target, left_out, shortened
from minorkey.errors import AdapterError
from minorkey.system.faults import own_options
from minorkey.system.reading import shown
from minorkey.system.tensors import check_shape

MARK = "_minorkey_method"
"""Attribute of a network that carries a method's training; gone once folded in."""

State = Mapping[str, Tensor]


def attach(
    network: nn.Module,
    method: MethodOptions | str = "soma",
    *,
    seed: int = 0,
    state: State | None = None,
    load: bool = True,
    also: Sequence[str] = (),
) -> Attached:
    """Adapt a network in place: its class and its output stay, and only what trains requires gradients.

    The weights are decomposed as they are now, so load the pretrained ones first. To train a head beside it,
    attach to the backbone alone: `attach(model.backbone, ...)`. After an error the network is as it was.

    Args:
        network: a backbone or any module whose layers have known names (or names given as `method.layers`).
        method: what to do; a name stands for the method with its defaults.
        seed: of random factors; the global random state is left alone.
        state: an earlier `Attached.state_dict()` of the same pretrained weights. Its initial factors are
            taken in place of a new decomposition, so that the frozen weights too are the same bit for bit.
        also: parameters of the network that train too, whatever the method, unless they are adapted. Biases of adapted
            layers are the method's: see `train_bias`.
        load: False leaves the network as pretrained; `Attached.load_state_dict` then takes what was trained.

    Raises:
        AdapterError: if no layer fits, the rank is too large, weights are quantised, not loaded or not finite, the
            network carries an adapter already, `also` names what it has not or a bias that is the method's, or the
            state does not fit: it lacks tensors, has others, or of other shapes. Whose weights it started from, a
            state does not say.

    Warns:
        UserWarning: layers of a kind that gets no adapter; layers where the method would tune components of zero;
            parameters that would be trained in float16.
    """
    method = own_options("method", MethodOptions, {"name": method}) if isinstance(method, str) else method
    if not isinstance(method, MethodOptions):
        raise AdapterError(f"method is {shown(method)}; expected a name such as 'soma', or MethodOptions")
    check_bare(network)
    if unknown := sorted(set(also) - dict(network.named_parameters()).keys()):
        raise AdapterError(f"also names {shown(unknown[0])}, which is no parameter of {type(network).__name__}")
    with as_it_was_on_error(network, keep_weights=state is not None):  # only a state can fail once they changed
        if method.spec.trains == "adapter":
            attached = _attach_low_rank(network, method, seed, state)
        elif method.spec.trains == "norms":
            attached = _attach_norms(network, method)
        else:
            attached = _attach_in_place(network, method)
        _train_also(network, also, method)
        trained = attached.trained_parameters()
        attached = replace(attached, trained=tuple(trained))
        if state is not None and load:
            attached.load_state_dict(state)
    if half := [name for name, parameter in trained.items() if parameter.dtype == torch.float16]:
        message = (
            f"{len(half)} parameters would be trained in float16, where Adam divides by zero and small steps are lost: "
            f"{shortened(half)}; load the network in float32 or bfloat16, and compute in float16 by autocast"
        )
        warnings.warn(message, stacklevel=2)
    network.__dict__[MARK] = method.name
    return attached


def _train_also(network: nn.Module, also: Sequence[str], method: MethodOptions) -> None:
    parameters = dict(network.named_parameters())
    for name in also:
        if name in parameters:
            parameters[name].requires_grad_(True)
        elif name.endswith("bias") and method.spec.trains == "adapter" and not method.trains_biases:
            raise AdapterError(f"also names '{name}', of an adapted layer; set the method's train_bias for these")


def check_bare(network: nn.Module) -> None:
    """Raise `AdapterError` if this is no network, or carries an adapter already."""
    if not isinstance(network, nn.Module):
        raise AdapterError(f"got {shown(network)}; expected a torch module, such as the backbone of a model")
    if tuner_layers(network) or any(MARK in module.__dict__ for module in network.modules()):
        raise AdapterError("the network carries an adapter already; fold it in or load the network again")


@contextmanager
def as_it_was_on_error(network: nn.Module, keep_weights: bool) -> Iterator[None]:
    """Undo a half-done attachment.

    Args:
        network: bare.
        keep_weights: also restore the values of its parameters, which costs their memory meanwhile.
    """
    flags = {name: p.requires_grad for name, p in network.named_parameters()}
    named = network.named_parameters() if keep_weights else ()
    weights = {name: p.detach().to("cpu", copy=True) for name, p in named}  # not on a GPU that they may fill
    try:
        yield
    except Exception:
        remove(network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(flags[name])
            if name in weights:
                parameter.data.copy_(weights[name])
        raise


def _attach_in_place(network: nn.Module, method: MethodOptions) -> Attached:
    """Nothing is added: the network's own parameters train, or none."""
    if method.spec.trains == "biases":
        biases = [p for name, p in network.named_parameters() if name.rpartition(".")[2].endswith("bias")]
        if not biases:
            raise AdapterError(f"{type(network).__name__} has no biases to train; choose another method")
        network.requires_grad_(False)
        for bias in biases:
            bias.requires_grad_(True)
    else:
        for parameter in network.parameters():  # whole numbers, e.g. of an index, have no gradient
            trains = parameter.is_floating_point() or parameter.is_complex()
            parameter.requires_grad_(method.spec.trains == "everything" and trains)
    return Attached(network, method)


def _attach_norms(network: nn.Module, method: MethodOptions) -> Attached:
    names = tuple(find_norms(network))
    inject(network, LNTuningConfig(), names)
    network.requires_grad_(False)
    for layer in tuner_layers(network).values():
        for parameter in added_parameters(layer).values():
            parameter.requires_grad_(True)
    return Attached(network, method, names)


def _attach_low_rank(network: nn.Module, method: MethodOptions, seed: int, state: State | None) -> Attached:
    targets = adapted_targets(network, method)
    for target in targets:
        _check_values(target, method)
    if unfit := left_out(network, method.roles, method.layers):
        message = f"{len(unfit)} layers get no adapter, as they are of a kind that cannot have one: {shortened(unfit)}"
        warnings.warn(message, stacklevel=3)  # where attach was called
    # The CPU's generator alone is forked and seeded: PEFT draws there, whatever the device of the network.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        starts = _starts(targets, method, state)  # before anything is touched: a decomposition may fail
        for layer, parts in _fused_layers(targets).items():
            split(network, layer, parts)
        torch.default_generator.manual_seed(seed)
        inject(network, _lora_config(targets, method), [target.name for target in targets])
    network.requires_grad_(False)
    initial = {target.name: _start_at(network, target, starts[target.name], method) for target in targets if starts}
    for target in targets:
        _train_layer(network, target, method)
    for together in _readers_of_one_input(network, targets):
        share_inputs(together)
    return Attached(network, method, tuple(target.name for target in targets), initial)


def _check_values(target: Target, method: MethodOptions) -> None:
    """Refuse weights without values, where the method starts from them, and what DoRA would divide by zero."""
    if target.weight.is_meta:
        if method.spec.start is not None:
            raise AdapterError(
                f"layer '{target.name}' is on the meta device, where weights have no values, and {method.name} starts "
                "from these; load the weights first"
            )
    elif method.spec.peft.get("use_dora") and not target.weight.flatten(1).any(dim=1).all():
        raise AdapterError(
            f"layer '{target.name}' has rows of zeros, whose length {method.name} would divide by; "
            "choose roles without it, or another method"
        )


def _starts(targets: list[Target], method: MethodOptions, state: State | None) -> dict[str, Factors]:
    """The initial factors of every layer; none for a method that starts from PEFT's random ones."""
    start = method.spec.start
    if start is None:
        return {}
    if state is not None:
        return {target.name: _stored_factors(state, target, method) for target in targets}
    starts, dead = {}, []
    for target in targets:
        rank, scaling = method.rank_in(target.block), method.scaling_in(target.block)
        A, B = start_factors(target.weight, start, rank, scaling)
        parts = dead_parts(target.weight, A, B, scaling)
        if parts.any():
            A, B = as_lora_starts(A, B, parts)
            dead.append(target.name)
        starts[target.name] = A, B
    if dead:
        message = (
            f"{len(dead)} layers have components of zero, which no gradient would move; in place of these, "
            f"{method.name} starts as LoRA does: {shortened(dead)}"
        )
        warnings.warn(message, stacklevel=4)  # where attach was called
    return starts


def _stored_factors(state: State, target: Target, method: MethodOptions) -> Factors:
    rank, (out, columns) = method.rank_in(target.block), target.matrix_shape
    stored = []
    for key, shape in (("A", (rank, columns)), ("B", (out, rank))):
        key = f"initial.{target.name}.{key}"
        if key not in state:
            raise AdapterError(f"the checkpoint lacks tensor '{key}'; it is of another method or backbone")
        matrix = state[key].flatten(1)
        check_shape(key, matrix, torch.empty(shape, device="meta"), "the checkpoint", OTHER)
        stored.append(matrix)
    return stored[0], stored[1]


def _fused_layers(targets: list[Target]) -> dict[str, tuple[str, ...]]:
    """Fused projections among the targets, and the names of all their parts."""
    layers = (target.name.rpartition(".")[0] for target in targets if target.part is not None)
    return {layer: fused_roles(layer) for layer in layers}


def _readers_of_one_input(network: nn.Module, targets: list[Target]) -> list[list[MergedLinear]]:
    """Layers that may be given the same tensor: query, key and value of an attention, the two first of a gated MLP."""
    readers: dict[tuple[str, bool, int], list[MergedLinear]] = {}
    for target in targets:
        layer = network.get_submodule(target.name)
        if isinstance(layer, MergedLinear) and target.role in ("q", "k", "v", "fc1"):
            place = target.name.rpartition(".")[0], target.role == "fc1", layer.in_features
            readers.setdefault(place, []).append(layer)
    return list(readers.values())


def _lora_config(targets: list[Target], method: MethodOptions) -> LoraConfig:
    ranks = {target.name: method.rank_in(target.block) for target in targets}
    return LoraConfig(
        **lora_ranks(ranks, dict.fromkeys(ranks, method.alpha)),
        lora_dropout=method.dropout,
        bias="lora_only" if method.trains_biases else "none",
        **method.spec.peft,
    )


def lora_ranks(ranks: Mapping[str, int], alphas: Mapping[str, float]) -> dict[str, Any]:
    """Ranks and alphas per layer as PEFT takes them: the most common values, and patterns for the others."""
    settings: dict[str, Any] = {}
    for name, pattern, values in (("r", "rank_pattern", ranks), ("lora_alpha", "alpha_pattern", alphas)):
        common = Counter(values.values()).most_common(1)[0][0]
        settings[name] = common
        settings[pattern] = {f"^{re.escape(layer)}$": v for layer, v in values.items() if v != common}
    return settings


def _start_at(network: nn.Module, target: Target, start: Factors, method: MethodOptions) -> Factors:
    layer = low_rank_layer(network, target.name)
    A, B = factors(layer)
    base = layer.get_base_layer()
    with torch.no_grad():
        A.copy_(start[0].reshape(A.shape))
        B.copy_(start[1].reshape(B.shape))
        if method.spec.residual:
            base.weight.copy_(residual_weight(base.weight, A, B, method.scaling_in(target.block)))
        return A.clone(), B.clone()


def _train_layer(network: nn.Module, target: Target, method: MethodOptions) -> None:
    layer = low_rank_layer(network, target.name)
    for name, parameter in added_parameters(layer).items():
        parameter.requires_grad_(not (method.spec.freezes_b and name.startswith("lora_B")))
    bias = layer.get_base_layer().bias
    if method.trains_biases and bias is not None:
        bias.requires_grad_(True)
