"""A network with its adapter: what trains, where it started, and its state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minorkey.adapters.inits import Factors
from minorkey.adapters.options import MethodOptions
from minorkey.errors import AdapterError
from minorkey.system.tensors import check_tensors

OTHER = "it is of another rank, method, setting or backbone"
"""What may be the matter with tensors that do not fit."""


@dataclass(frozen=True, eq=False)
class Attached:
    """A network with its adapter: what trains, and where it started.

    `full`, `bias` and `frozen` fit the same shape: no wrapped layers, all, some or none of the parameters trained.
    """

    backbone: nn.Module
    method: MethodOptions
    layers: tuple[str, ...] = ()  # layers that PEFT has wrapped, dotted names relative to the backbone
    initial: dict[str, Factors] = field(default_factory=dict)  # per layer; methods that start from the weights
    trained: tuple[str, ...] = ()  # parameters that trained as it was attached, whether gradients are off by now or not

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

        Raises:
            AdapterError: the adapter was folded in.
        """
        state = {f"trained.{name}": tensor for name, tensor in self.trained_tensors().items()}
        for layer, (A, B) in self.initial.items():
            state |= {f"initial.{layer}.A": A, f"initial.{layer}.B": B}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy trained tensors from a `state_dict()`, bit for bit.

        Raises:
            AdapterError: if names or shapes differ, a value is not finite, or the state belongs to another
                decomposition: then the frozen weights differ too, and `attach(..., state=state)` must rebuild them.
        """
        own = self.state_dict()
        check_tensors(state, own, "the checkpoint", OTHER)
        for key, tensor in own.items():
            if key.startswith("initial.") and not torch.equal(tensor, state[key].to(tensor.device)):
                raise AdapterError(
                    f"checkpoint tensor '{key}' differs from this decomposition; "
                    "load the pretrained backbone again and call attach(..., state=...)"
                )
        for name, tensor in self.trained_tensors().items():
            tensor.copy_(state[f"trained.{name}"])

    def trained_tensors(self) -> dict[str, Tensor]:
        """What training changes, by name in the backbone, not copied; with `full` all state, buffers included.

        A tensor with several names, where layers are tied, has its first one.

        Raises:
            AdapterError: the adapter was folded in.
        """
        everything = self.method.spec.trains == "everything"
        state = self.backbone.state_dict(keep_vars=True)
        if gone := [name for name in self.trained if name not in state]:
            raise AdapterError(f"the network has no '{gone[0]}' any more: its adapter was folded in, or taken out")
        trained = {*self.trained, *self.trained_parameters()}
        found: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in state.items():
            if everything or name in trained:
                found.setdefault(id(tensor), (name, tensor.detach()))
        return dict(found.values())
