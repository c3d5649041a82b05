"""Counts, on a CPU, how often the host would wait for a GPU.

Nothing tells a CPU tensor that a GPU would hold from one that stays with the host, so that is followed here. A tensor
is the host's where Python makes it without naming a device (`torch.tensor(...)`, `torch.from_numpy`, `torch.zeros(3)`),
takes it back (`.cpu()`), or computes it of such tensors alone. All others are the device's: parameters, what is made
with a `device`, what `.to(device)` returns, and whatever is computed with one of these.

The host waits for

- a `read`: a number or a copy of a device tensor (`.item()`, `float(...)`, `if tensor`, `torch.equal`, `.cpu()`,
  `.tolist()`, `.numpy()`);
- a `search`: a result whose size only the device knows (`nonzero`, an index of booleans, `unique`, `bincount`, ...);
- a `send`: a copy from the host (`torch.tensor(..., device=...)`, `.to(device)`, an index that the host holds).

The copies of the loader's batch, from page-locked memory, are counted apart as `batch`: they do not wait. Neither do
others from such memory (`minorkey.system.transfer.send`), but they are counted as sends, so that the figures are upper
bounds.

An operation that would fail on a GPU, since it mixes tensors of both, raises an error. What only a GPU's own kernels
do cannot be seen from here.
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

aten = torch.ops.aten

WAITS = ("read", "search", "send")
"""Kinds of waits."""

SEARCHES = {
    aten.nonzero, aten.masked_select, aten.bincount, aten._unique2, aten._unique, aten.unique_dim,
    aten.unique_consecutive, aten.unique_dim_consecutive, aten.histc,
}  # fmt: skip
READS = {aten._local_scalar_dense, aten.equal}
MAKERS = "tensor as_tensor asarray zeros ones full empty arange linspace rand randn randint randperm eye scalar_tensor"
FACTORIES = {getattr(torch, name) for name in MAKERS.split()}
FROM_DATA = {torch.tensor, torch.as_tensor, torch.asarray}
TO_HOST = {Tensor.cpu, Tensor.tolist, Tensor.numpy, Tensor.__array__}


class Waits:
    """What was counted; inside of `counted`.

    Attributes:
        kinds: waits by kind, and copies of the batch.
        operations: on device tensors, views included.
        places: where the waits were, innermost line of ours and of transformers first.
    """

    def __init__(self) -> None:
        self.host: dict[int, Tensor] = {}  # by storage; kept, so that no other takes the place of one that is gone
        self.reset()

    def reset(self) -> None:
        """Count from 0."""
        self.kinds: Counter[str] = Counter()
        self.operations = 0
        self.places: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Waits of all kinds."""
        return sum(self.kinds[kind] for kind in WAITS)

    def wait(self, kind: str, what: str) -> None:
        """Note one."""
        self.kinds[kind] += 1
        if kind in WAITS:
            self.places[f"{kind} by {what} at {_place()}"] += 1

    def on_host(self, value: Any) -> bool:
        """Whether it is a tensor of the host's."""
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self.host

    def keep_on_host(self, value: Any) -> Any:
        """Note that the tensors in a value are the host's."""
        for tensor in tree_iter(value):
            if isinstance(tensor, Tensor):
                self.host[tensor.untyped_storage()._cdata] = tensor
        return value


@contextmanager
def counted(waits: Waits | None = None) -> Iterator[Waits]:
    """Count inside."""
    waits = waits or Waits()
    made = torch.from_numpy  # which asks no mode
    kept = patch.object(torch, "from_numpy", lambda array: waits.keep_on_host(made(array)))
    with kept, _Kernels(waits), _Calls(waits):
        yield waits


class _Calls(TorchFunctionMode):
    """Follows what Python asks for: there a device is still a device."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs, waits = kwargs or {}, self.waits
        if function in TO_HOST:
            return self._to_host(function, args, kwargs)
        if function is Tensor.to:
            return self._to(args, kwargs)
        if function is Tensor.new_tensor and not waits.on_host(args[0]):
            waits.wait("send", "new_tensor")
            return function(*args, **kwargs)
        if function in (Tensor.__getitem__, Tensor.__setitem__) and not waits.on_host(args[0]):
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | np.ndarray) for part in parts):
                waits.wait("send", "an index")
        if function is torch.nn.functional.one_hot and kwargs.get("num_classes", (*args, -1)[1]) > 0:
            before = Counter(waits.kinds), Counter(waits.places)
            result = function(*args, **kwargs)  # a CPU alone looks at the values
            waits.kinds, waits.places = before
            return result
        result = function(*args, **kwargs)
        if function in FACTORIES:
            return self._made(function, result, args, kwargs)
        return result

    def _to_host(self, function: Callable, args: tuple, kwargs: Any) -> Any:
        if not self.waits.on_host(args[0]):
            self.waits.wait("read", function.__name__)
        result = function(*args, **kwargs)
        return self.waits.keep_on_host(result.clone()) if isinstance(result, Tensor) else result

    def _to(self, args: tuple, kwargs: Any) -> Tensor:
        tensor, result = args[0], Tensor.to(*args, **kwargs)
        targets = [value for value in (*args[1:], *kwargs.values()) if isinstance(value, str | torch.device | Tensor)]
        if not targets or (
            isinstance(targets[0], Tensor) and self.waits.on_host(targets[0]) == self.waits.on_host(tensor)
        ):
            return result
        if targets[0] == "cpu" or self.waits.on_host(targets[0]):
            return result if self.waits.on_host(tensor) else self._to_host(Tensor.cpu, (tensor,), {})
        if not self.waits.on_host(tensor):
            return result
        with torch._C.DisableTorchFunction(), torch.utils._python_dispatch._disable_current_modes():
            moved = result.clone()
        self.waits.wait("batch" if kwargs.get("non_blocking", False) and _in_batch() else "send", "to(device)")
        return moved

    def _made(self, function: Callable, result: Tensor, args: tuple, kwargs: Any) -> Tensor:
        named = kwargs.get("device") is not None
        if function in FROM_DATA and args and isinstance(args[0], Tensor):
            if named and self.waits.on_host(args[0]):
                return self._to((args[0], kwargs["device"]), {})
            return result
        if named and kwargs["device"] != "cpu":
            if function in FROM_DATA:
                self.waits.wait("send", function.__name__)
            return result
        return self.waits.keep_on_host(result)


class _Kernels(TorchDispatchMode):
    """Follows what is computed, backward too."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        waits, kwargs = self.waits, kwargs or {}
        given = [value for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)]
        theirs = [waits.on_host(value) for value in given]
        result = operation(*args, **kwargs)
        if given and all(theirs):
            return waits.keep_on_host(result)
        if not given:
            return result
        waits.operations += 1
        kind, name = operation.overloadpacket, operation.overloadpacket.__name__
        if kind in SEARCHES:
            waits.wait("search", name)
        elif kind in READS:
            waits.wait("read", name)
        elif kind is aten.repeat_interleave and kwargs.get("output_size") is None:
            waits.wait("search", name)
        elif kind in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
            self._index(name, args[1])
        elif kind is aten.copy_:
            if theirs[0] != theirs[1] and given[1].ndim + given[0].ndim > 0:
                waits.wait("send" if theirs[1] else "read", name)
        elif any(host and value.ndim for value, host in zip(given, theirs, strict=True)):
            raise AssertionError(f"{operation} mixes tensors of host and device, which fails on a GPU: {_place()}")
        return result

    def _index(self, name: str, indices: Any) -> None:
        given = [index for index in indices if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in given):
            self.waits.wait("search", name)
        if any(self.waits.on_host(index) for index in given):
            self.waits.wait("send", "an index")


def _in_batch() -> bool:
    """Whether a batch of the loader is being moved, which has its own file."""
    return any(frame.filename.endswith("minorkey/data/sample.py") for frame in traceback.extract_stack(limit=6))


def _place() -> str:
    frames = [
        frame
        for frame in traceback.extract_stack()
        if "minorkey/" in frame.filename or "transformers/" in frame.filename or "accelerate/" in frame.filename
    ]
    shown = [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}" for frame in reversed(frames[-3:])]
    return " < ".join(shown)
