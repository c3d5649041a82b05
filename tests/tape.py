"""What stands for a CUDA graph on a CPU: operations are noted while they are captured, and computed again on the same
memory when they are replayed.

What a capture refuses is refused: reading a number, and results whose size only the device knows.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
REFUSED = {aten.nonzero, aten.masked_select, aten._unique2, aten.bincount, aten.equal}


class Tape:
    def __init__(self, watched: Callable[[], AbstractContextManager[Any]] = nullcontext) -> None:
        self.noted: list[tuple[Any, tuple, dict, Any]] = []
        self.watched = watched

    @contextmanager
    def capture(self) -> Iterator[None]:
        with self.watched(), _Noting(self.noted):
            yield

    @torch.no_grad()
    def replay(self) -> None:
        for operation, args, kwargs, noted in self.noted:
            found = operation(*args, **kwargs)
            given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            for now, then in zip(tree_leaves(found), tree_leaves(noted), strict=True):
                if isinstance(then, Tensor) and then.untyped_storage().data_ptr() not in given:
                    then.copy_(now)


class _Noting(TorchDispatchMode):
    def __init__(self, noted: list) -> None:
        super().__init__()
        self.noted = noted

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if operation.overloadpacket in REFUSED:
            raise RuntimeError(f"{operation} while capturing")
        if operation.overloadpacket is aten._local_scalar_dense and given[0].ndim:
            raise RuntimeError("a number is read while capturing")
        found = operation(*args, **kwargs)
        # Detached: a leaf or an output of a graph cannot be written to in place.
        kept = torch.utils._pytree.tree_map(lambda v: v.detach() if isinstance(v, Tensor) else v, (args, kwargs, found))
        self.noted.append((operation, *kept))
        return found


def tapes(watched: Callable[[], AbstractContextManager[Any]] = nullcontext) -> tuple[Tape, Tape]:
    return Tape(watched), Tape(watched)
