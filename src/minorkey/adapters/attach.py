"""Put an adapter into a backbone, in place, and keep what is needed to resume or convert it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from minorkey.adapters.decompose import as_matrix, singular_triplets
from minorkey.adapters.inits import low_rank_factors, residual_weight
from minorkey.adapters.options import MethodOptions
from minorkey.adapters.targets import adapted_targets
from minorkey.errors import AdapterError

ADAPTER = "default"  # PEFT's name for the only adapter of a network

Factors = tuple[Tensor, Tensor]
"""`A (r, in)` and `B (out, r)`, in the shapes of the layers that hold them."""


@dataclass(frozen=True, eq=False)
class Attached:
    """A backbone with its adapter: what trains, and where it started.

    `full` and `frozen` fit the same shape: no adapted layers, all or none of the parameters trained.
    """

    backbone: nn.Module
    method: MethodOptions
    layers: tuple[str, ...] = ()  # adapted layers, dotted names relative to the backbone
    initial: dict[str, Factors] = field(default_factory=dict)  # per layer; residual methods only

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that train, by their name in the backbone."""
        return {name: p for name, p in self.backbone.named_parameters() if p.requires_grad}

    @property
    def trained_count(self) -> int:
        """Number of values that train."""
        return sum(p.numel() for p in self.trained_parameters().values())

    def state_dict(self) -> dict[str, Tensor]:
        """Trained tensors (`trained.*`) and initial factors (`initial.*`), not copied.

        With `full`, all of the backbone's state, buffers included.
        """
        state = {f"trained.{name}": tensor for name, tensor in self._trained_tensors().items()}
        for layer, (A, B) in self.initial.items():
            state |= {f"initial.{layer}.A": A, f"initial.{layer}.B": B}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy trained tensors from a `state_dict()`, bit for bit.

        Raises:
            AdapterError: if names or shapes differ, or the state belongs to another decomposition: then the
                frozen weights differ too, and `attach(..., state=state)` must rebuild them.
        """
        own = self.state_dict()
        _check_same_tensors(own, state)
        for key, tensor in own.items():
            if key.startswith("initial.") and not torch.equal(tensor, state[key].to(tensor.device)):
                raise AdapterError(
                    f"checkpoint tensor '{key}' differs from this decomposition; "
                    "load the pretrained backbone again and call attach(..., state=...)"
                )
        for name, tensor in self._trained_tensors().items():
            tensor.copy_(state[f"trained.{name}"])

    def _trained_tensors(self) -> dict[str, Tensor]:
        everything = self.method.spec.trains == "everything"
        trained = self.trained_parameters()
        return {name: t for name, t in self.backbone.state_dict().items() if everything or name in trained}


def attach(
    backbone: nn.Module,
    method: MethodOptions,
    *,
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
) -> Attached:
    """Adapt a backbone in place: its class and its output stay, and only what trains requires gradients.

    The weights are decomposed as they are now, so load the pretrained ones first.

    Args:
        backbone: a transformers backbone, without adapters.
        method: what to do.
        seed: of LoRA's random factor; the global random state is left alone.
        state: an earlier `Attached.state_dict()` of the same pretrained backbone. Its initial factors are
            taken in place of a new decomposition, so that the frozen weights too are the same bit for bit.

    Raises:
        AdapterError: if no layer fits, the rank is too large, the backbone carries an adapter already, or the
            state is of another method or backbone.
    """
    check_bare(backbone)
    if method.spec.trains == "adapter":
        attached = _attach_low_rank(backbone, method, seed, state)
    else:
        backbone.requires_grad_(method.spec.trains == "everything")
        attached = Attached(backbone, method)
    if state is not None:
        attached.load_state_dict(state)
    return attached


def check_bare(backbone: nn.Module) -> None:
    """Raise `AdapterError` if the backbone carries an adapter already."""
    if any(isinstance(module, BaseTunerLayer) for module in backbone.modules()):
        raise AdapterError("the backbone carries an adapter already; fold it in or load the backbone again")


def inject(backbone: nn.Module, config: LoraConfig) -> None:
    """Let PEFT put low-rank factors on exactly the named layers, in float32 at least."""
    wanted = set(config.target_modules)
    inject_adapter_in_model(config, backbone, adapter_name=ADAPTER)
    layers = {name: module for name, module in backbone.named_modules() if isinstance(module, LoraLayer)}
    assert layers.keys() == wanted, "PEFT matches names by their ends too, and must not have found others"
    for layer in layers.values():
        for parameter in factors(layer):
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))


def adapted_layer(backbone: nn.Module, name: str) -> LoraLayer:
    """The adapted layer of that name."""
    layer = backbone.get_submodule(name)
    assert isinstance(layer, LoraLayer)
    return layer


def factors(layer: LoraLayer) -> tuple[nn.Parameter, nn.Parameter]:
    """The trained `A` and `B` of an adapted layer."""
    return layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight


def _attach_low_rank(
    backbone: nn.Module, method: MethodOptions, seed: int, state: Mapping[str, Tensor] | None
) -> Attached:
    names = tuple(target.name for target in adapted_targets(backbone, method))
    config = LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        target_modules=list(names),
        bias="lora_only" if method.trains_biases else "none",
    )
    # The CPU's generator alone is forked and seeded: PEFT draws there, whatever the device of the backbone.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject(backbone, config)
    backbone.requires_grad_(False)
    initial = {}
    for name in names:
        layer = adapted_layer(backbone, name)
        if method.spec.residual:
            stored = None if state is None else _stored_factors(state, name, layer)
            initial[name] = _start_from_triplets(layer, method, stored)
        for parameter in factors(layer):
            parameter.requires_grad_(True)
        bias = layer.get_base_layer().bias
        if method.trains_biases and bias is not None:
            bias.requires_grad_(True)
    return Attached(backbone, method, names, initial)


def _start_from_triplets(layer: LoraLayer, method: MethodOptions, stored: Factors | None) -> Factors:
    base = layer.get_base_layer()
    A, B = factors(layer)
    A0, B0 = stored or _decomposed(base.weight, method)
    with torch.no_grad():
        A.copy_(A0.reshape(A.shape))
        B.copy_(B0.reshape(B.shape))
        base.weight.copy_(residual_weight(base.weight, A, B, method.scaling))
        return A.clone(), B.clone()


def _decomposed(weight: Tensor, method: MethodOptions) -> Factors:
    assert method.spec.init in ("minor", "major")
    triplets = singular_triplets(as_matrix(weight), method.rank, method.spec.init)
    return low_rank_factors(*triplets, method.scaling)


def _stored_factors(state: Mapping[str, Tensor], name: str, layer: LoraLayer) -> Factors:
    keys = f"initial.{name}.A", f"initial.{name}.B"
    for key, parameter in zip(keys, factors(layer), strict=True):
        if key not in state:
            raise AdapterError(f"the checkpoint lacks tensor '{key}'; it is of another method or backbone")
        _check_shape(key, state[key], parameter)
    return state[keys[0]], state[keys[1]]


def _check_same_tensors(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    if wrong := sorted(own.keys() ^ given.keys()):
        lacks = "lacks" if wrong[0] in own else "has an unexpected"
        raise AdapterError(
            f"the checkpoint {lacks} tensor '{wrong[0]}' ({len(wrong)} names differ); "
            "it is of another method, setting or backbone"
        )
    for key, tensor in own.items():
        _check_shape(key, given[key], tensor)


def _check_shape(key: str, given: Tensor, expected: Tensor) -> None:
    if given.shape != expected.shape:
        raise AdapterError(
            f"checkpoint tensor '{key}' has shape {tuple(given.shape)}, expected {tuple(expected.shape)}; "
            "it is of another rank or backbone"
        )
