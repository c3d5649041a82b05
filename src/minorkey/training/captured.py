"""A pass through a module and back, captured once as two CUDA graphs and replayed: no Python, no launches.

What a replay computes is what was launched while it was captured, on the same memory: its inputs are copied to where
those of the capture were, its outputs are copied from there, and gradients of parameters are found in memory of their
own, which `backward` puts or adds into `.grad`.
"""

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from numbers import Number
from typing import Any, Protocol
from unittest.mock import patch
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from minorkey.adapters.merged_linear import MergedLinear
from minorkey.adapters.packed import HeldWeight

SENDS = (torch.tensor, torch.as_tensor)
"""What sends numbers of Python to a device, where one is named."""


class Tape(Protocol):
    """What is captured on, and replayed from: a CUDA graph, or what stands for one."""

    def capture(self) -> AbstractContextManager[None]:
        """Inside, everything is noted that is to be replayed."""

    def replay(self) -> None:
        """Compute it."""


class CudaTape:
    """A CUDA graph.

    Args:
        pool: of memory, shared by the passes forward and back.
    """

    def __init__(self, pool: Any) -> None:
        self._graph, self._pool = torch.cuda.CUDAGraph(), pool

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Nothing is computed inside. Other threads, such as those that load images, may do as they like."""
        gc.collect()
        gc.disable()  # what it lets go of may be nothing to let go of meanwhile
        try:
            # The stream of now around it: a capture that fails leaves its own one behind.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(self._graph, pool=self._pool, capture_error_mode="thread_local"),
            ):
                yield
        finally:
            gc.enable()

    def replay(self) -> None:
        """Compute what was captured."""
        self._graph.replay()


def cuda_tapes() -> tuple[Tape, Tape]:
    """For a pass and for the way back."""
    pool = torch.cuda.graph_pool_handle()
    return CudaTape(pool), CudaTape(pool)


class Constants(TorchFunctionMode):
    """Numbers that a pass sends to the device: sent once, for what is captured may send none."""

    def __init__(self) -> None:
        super().__init__()
        self._sent: dict[tuple[str, ...], Tensor] = {}

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """A copy of what was sent before, if it is the same."""
        kwargs = kwargs or {}
        sent = args[0] if args else kwargs.get("data")
        # Of anything else, such as long arrays, `repr` does not show all.
        if function not in SENDS or kwargs.get("device") is None or not _are_numbers(sent):
            return function(*args, **kwargs)
        what = (function.__name__, repr(args), repr(sorted(kwargs.items())))
        if what not in self._sent:
            self._sent[what] = function(*args, **kwargs)
        return self._sent[what].clone()


def _are_numbers(value: Any) -> bool:
    """Whether it is a number of Python, or nothing but such in lists."""
    return isinstance(value, Number) or (isinstance(value, list | tuple) and all(map(_are_numbers, value)))


class Captured:
    """A pass and its way back.

    Args:
        module: whose parameters are trained, at the memory that they have now.
        forward: the pass.
        call: arguments by position and by name; tensors among them are copied at every replay.
        constants: of an earlier pass of the same sizes.
        tapes: forward and back.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[..., Any],
        call: tuple[tuple, dict[str, Any]],
        constants: Constants,
        tapes: tuple[Tape, Tape],
    ) -> None:
        self._constants = constants  # the graphs read them
        self._forward, self._backward = tapes
        leaves, spec = tree_flatten(call)
        given = [_static(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.inputs = [leaf for leaf in given if isinstance(leaf, Tensor)]
        self._token: ref[_Token] | None = None
        with _own_leaves(module) as leaves_of, _nothing_cached():
            marks = {held: held.written for held in _held_weights(module)}
            with _nothing_drawn(), self._forward.capture(), constants:
                args, kwargs = tree_unflatten(given, spec)
                outputs, self.spec = tree_flatten(forward(*args, **kwargs))
            self._held = [(h, h.written, h.parts) for h, mark in marks.items() if h.written is not mark]
            self._outputs = [out.detach() if isinstance(out, Tensor) else out for out in outputs]
            self._learnt = [isinstance(out, Tensor) and out.requires_grad for out in outputs]
            self._back(outputs, leaves_of, constants)

    def _back(self, outputs: Sequence[Any], leaves_of: dict[nn.Parameter, Tensor], constants: Constants) -> None:
        reached = [out for out, learnt in zip(outputs, self._learnt, strict=True) if learnt]
        self._errors = [torch.zeros_like(out, memory_format=torch.contiguous_format) for out in reached]
        self._zero = [True] * len(reached)
        wanted = [given for given in self.inputs if given.requires_grad]
        self._of_inputs: list[Tensor | None] = [None] * len(wanted)
        self._of_parameters: list[tuple[nn.Parameter, Tensor]] = []
        if not reached:
            return
        device = reached[0].device
        self._anchor = torch.zeros((), device=device, requires_grad=True)
        asked = [*wanted, *leaves_of.values()]
        with torch.autocast(device.type, enabled=False), self._backward.capture(), constants:
            found = torch.autograd.grad(reached, asked, self._errors, allow_unused=True)
            gradients = _apart(found, asked, self._errors)
        self._of_inputs = gradients[: len(wanted)]
        pairs = zip(leaves_of, gradients[len(wanted) :], strict=True)
        self._of_parameters = [(parameter, gradient) for parameter, gradient in pairs if gradient is not None]

    @property
    def waiting(self) -> bool:
        """Whether the way back of the last pass may still be taken: another pass would overwrite what it needs."""
        return self._token is not None and self._token() is not None

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        """Replay the pass with other inputs."""
        outputs = list(_Replay.apply(self, self._anchor, *inputs)) if any(self._learnt) else self.run(inputs)
        others = iter(outputs)
        return tree_unflatten([next(others) if isinstance(o, Tensor) else o for o in self._outputs], self.spec)

    @torch.no_grad()
    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, in memory of their own."""
        if inputs:
            torch._foreach_copy_(self.inputs, list(inputs))
        self._forward.replay()
        for held, mark, _ in self._held:
            held.written = mark
        outputs = [out for out in self._outputs if isinstance(out, Tensor)]
        fresh = [torch.empty_like(out) for out in outputs]
        torch._foreach_copy_(fresh, outputs)
        return fresh

    def wait(self) -> "_Token":
        """What keeps this waiting as long as it lives."""
        token = _Token()
        self._token = ref(token)
        return token

    @torch.no_grad()
    def run_back(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Add to the gradients of the parameters; those of the inputs that ask for one."""
        for held, mark, parts in self._held:
            held.write([part.B for part in parts], parts, mark)
        for place, (static, gradient) in enumerate(zip(self._errors, gradients, strict=True)):
            if gradient is not None:
                static.copy_(gradient)
            elif not self._zero[place]:
                static.zero_()
            self._zero[place] = gradient is None
        earlier = [(p, own, p.grad) for p, own in self._of_parameters if p.grad is not None]
        ours = [grad for _, own, grad in earlier if grad is own]  # of a batch before: about to be written over
        copies = iter(torch._foreach_mul(ours, 1.0) if ours else ())
        sums = [next(copies) if grad is own else grad for _, own, grad in earlier]
        self._backward.replay()
        for parameter, own in self._of_parameters:
            parameter.grad = own
        if earlier:
            torch._foreach_add_(sums, [own for _, own, _ in earlier])
            for (parameter, _, _), total in zip(earlier, sums, strict=True):
                parameter.grad = total
        self._token = None
        return self._of_inputs

    def learnt_outputs(self) -> list[bool]:
        """Of each tensor among the outputs, whether it has a gradient."""
        return [learnt for learnt, out in zip(self._learnt, self._outputs, strict=True) if isinstance(out, Tensor)]


class _Token:
    """Lives as long as the graph of a pass."""


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, captured: Captured, anchor: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.captured, ctx.token = captured, captured.wait()
        outputs = captured.run(inputs)
        ctx.learnt = captured.learnt_outputs()
        ctx.mark_non_differentiable(*(out for out, learnt in zip(outputs, ctx.learnt, strict=True) if not learnt))
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        of_outputs = [gradient for gradient, learnt in zip(gradients, ctx.learnt, strict=True) if learnt]
        found = iter(ctx.captured.run_back(of_outputs))
        return None, None, *(next(found) if given.requires_grad else None for given in ctx.captured.inputs)


def _static(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


@contextmanager
def _own_leaves(module: nn.Module) -> Iterator[dict[nn.Parameter, Tensor]]:
    """Other leaves of the graph in place of what trains, in the same memory: nodes of earlier passes hold streams."""
    slots = [
        (owner, name, parameter)
        for owner in module.modules()
        for name, parameter in owner._parameters.items()
        if parameter is not None and parameter.requires_grad
    ]
    leaves = {parameter: nn.Parameter(parameter.detach()) for _, _, parameter in slots}
    try:
        for owner, name, parameter in slots:
            owner._parameters[name] = leaves[parameter]
        yield dict(leaves)
    finally:
        for owner, name, parameter in slots:
            owner._parameters[name] = parameter


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Refuse random numbers of the host, which every replay would repeat: a layer that is dropped once always is."""
    before, of_python = torch.get_rng_state(), random.getstate()
    yield
    if not torch.equal(torch.get_rng_state(), before) or random.getstate() != of_python:
        torch.set_rng_state(before)  # the pass is computed once more
        random.setstate(of_python)
        raise RuntimeError("its random numbers are drawn on the host")


@contextmanager
def _nothing_cached() -> Iterator[None]:
    """What a capture computes exists at replays alone: no cache may take it over, nor give what it may let go of."""
    torch.clear_autocast_cache()
    try:
        with patch("transformers.pytorch_utils.is_torchdynamo_compiling", lambda: True):
            yield
    finally:
        torch.clear_autocast_cache()


def _held_weights(module: nn.Module) -> set[HeldWeight]:
    shared = (layer.shared for layer in module.modules() if isinstance(layer, MergedLinear))
    return {held for inputs in shared if inputs is not None for held in inputs.held.values()}


def _apart(found: Sequence[Tensor | None], asked: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients laid out as what they are of, no two in the same memory."""
    taken = {each.untyped_storage().data_ptr() for each in given}
    own: list[Tensor | None] = []
    for gradient, of in zip(found, asked, strict=True):
        if gradient is not None:
            begins = gradient.data_ptr()
            aliased = begins in taken or gradient.untyped_storage().data_ptr() in taken
            if aliased or gradient.stride() != of.stride() or gradient.dtype != of.dtype:
                gradient = torch.empty_like(of).copy_(gradient)
            taken.add(gradient.data_ptr())
        own.append(gradient)
    return own
