"""CUDA graphs for training: the passes of backbone and decoders are captured once and replayed.

A step of a vision transformer with its decoders launches some 5000 kernels, each of which takes the host longer than
many take the GPU. Replayed, a pass is one launch. The kernels are those of eager mode, and so are the results.

A pass is captured when its like has been seen twice: the same sizes, modes, precision and memory of all weights.
Whatever else comes - other sizes, judging, a teacher's weights that move - runs as it does without graphs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self
from warnings import warn

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from minorkey.errors import ModelError
from minorkey.models.build import Head
from minorkey.system.processes import process_count
from minorkey.training.captured import Captured, Constants, Tape, cuda_tapes
from minorkey.training.options import TrainingOptions

SEEN_BEFORE = 2
"""Passes of a kind that run as they are; in the last of them, what it sends to the device is kept."""

PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)
"""Arguments beside tensors that say by their value all that a pass takes from them."""

KINDS = 4
"""Kinds of passes that are captured for one module at most: each has memory of its own."""


@contextmanager
def graphed(network: nn.Module, head: Head, options: TrainingOptions, device: torch.device) -> Iterator[None]:
    """Replay the passes of those parts that the row of a head names, where options and device allow it."""
    wanted = (
        options.cuda_graphs
        and device.type == "cuda"
        and process_count() == 1
        and not (options.compile or options.gradient_checkpointing or options.shard)
    )
    with ExitStack() as stack:
        for part in head.replayed(network) if wanted else ():
            stack.enter_context(replayed(part))
        yield


@contextmanager
def replayed(module: nn.Module, tapes: Callable[[], tuple[Tape, Tape]] = cuda_tapes) -> Iterator["Replayed"]:
    """Replay the passes of a module.

    Raises:
        ModelError: its forward pass is replaced already: a model's as a whole is, by what casts its outputs.
    """
    if "forward" in vars(module):
        raise ModelError(
            f"CUDA graphs cannot replay {type(module).__name__}, whose forward pass is replaced already; let "
            "`Head.replayed` give parts inside of the model, each once, or set training.cuda_graphs=false"
        )
    module.forward = found = Replayed(module, tapes)
    try:
        yield found
    finally:
        del module.forward


def captured_count(network: nn.Module) -> int:
    """How many passes of a network's parts were captured."""
    passes = (vars(module).get("forward") for module in network.modules())
    return sum(len(each.captured) for each in passes if isinstance(each, Replayed))


class Replayed:
    """The forward pass of a module, replayed once it is known.

    Args:
        module: its inputs and outputs are tensors in lists, mappings and outputs of transformers.
        tapes: what a pass is captured on.
    """

    def __init__(self, module: nn.Module, tapes: Callable[[], tuple[Tape, Tape]]) -> None:
        self._module, self._eager, self._tapes = module, module.forward, tapes
        self._known: dict[Any, int | Captured | None] = {}
        self._constants = Constants()
        self._modules = [*module.modules()]
        self._weights: list[Tensor] = [*module.parameters(), *module.buffers()]
        self._hooks = self._hook_count()

    def __deepcopy__(self, memo: dict) -> Self:
        """A copy of the module has passes of its own, and no graphs."""
        raise RuntimeError("a network whose passes are replayed cannot be copied; copy it before")

    @property
    def captured(self) -> list[Captured]:
        """The passes that were captured."""
        return [known for known in self._known.values() if isinstance(known, Captured)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The pass, replayed, captured or as it is."""
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if not self._may(leaves, tensors):
            return self._eager(*args, **kwargs)
        kind = self._kind(leaves, tensors, repr(spec))
        known = self._known.get(kind, 0)
        if isinstance(known, int) and known >= SEEN_BEFORE:
            known = self._known[kind] = self._captured(args, kwargs)
        if isinstance(known, Captured) and not known.waiting:
            return known(tensors)
        if not isinstance(known, int):
            return self._eager(*args, **kwargs)
        self._note(kind, known + 1)
        with self._constants:
            return self._eager(*args, **kwargs)

    def _may(self, leaves: Sequence[Any], tensors: Sequence[Tensor]) -> bool:
        return (
            not torch.is_inference_mode_enabled()
            and not torch.compiler.is_compiling()
            and bool(tensors)
            and all(type(leaf) is Tensor or isinstance(leaf, PLAIN) for leaf in leaves)
            and self._hook_count() == self._hooks
        )

    def _hook_count(self) -> int:
        """Hooks inside of the module: those that come and go do what a replay does not."""
        inner = self._modules[1:]
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in inner)

    def _kind(self, leaves: Sequence[Any], tensors: Sequence[Tensor], spec: str) -> Any:
        """All that has to be the same for a replay to be the pass."""
        device = tensors[0].device.type
        return (
            spec,
            tuple(leaf for leaf in leaves if not isinstance(leaf, Tensor)),
            tuple((t.shape, t.dtype, t.device, t.requires_grad) for t in tensors),
            tuple(module.training for module in self._modules),
            tuple((weight.data_ptr(), weight.requires_grad) for weight in self._weights),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device),
        )

    def _note(self, kind: Any, count: int) -> None:
        if len(self._known) > 8 * KINDS:  # they vary without end
            self._known = {kind: known for kind, known in self._known.items() if isinstance(known, Captured)}
        self._known[kind] = count if len(self.captured) < KINDS else 0

    def _captured(self, args: tuple, kwargs: dict[str, Any]) -> Captured | None:
        """The pass on its graphs; None, and a word about it, where it cannot be captured."""
        states = [generator.clone_state() for generator in torch.cuda.default_generators]
        try:
            return Captured(self._module, self._eager, (args, kwargs), self._constants, self._tapes())
        except (RuntimeError, AssertionError, TypeError) as error:
            for generator, state in zip(torch.cuda.default_generators, states, strict=True):
                generator.graphsafe_set_state(state)  # else it believes that it is still captured
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            warn(f"{type(self._module).__name__} trains without CUDA graphs ({reason})", stacklevel=2)
            return None
