"""One optimizer step: its batches forward and backward through the regime's losses, then the weights moved."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minorkey.data.sample import Batch, Pair
from minorkey.models.heads.set_criterion import total
from minorkey.regimes.base import Regime
from minorkey.system.precision import kernels
from minorkey.system.processes import process_index
from minorkey.training.divergence import check_scale
from minorkey.training.drawn import Drawn
from minorkey.training.fit import Fit
from minorkey.training.share import average_gradients, with_shares
from minorkey.training.state import State

Statistics = list[dict[str, Tensor]]


class Pass(NamedTuple):
    """What a step made of one of its batches."""

    losses: list[dict[str, Tensor]]  # a group for each backward pass, by name
    signals: dict[str, Tensor]  # of the regime


def take_step(fit: Fit, state: State, drawn: Drawn) -> list[Pass]:
    """Move the weights by one step; where a gradient overflows float16, again with a smaller scale of the loss.

    Returns:
        What it made of each of its batches.

    Raises:
        TrainingError: gradients overflow at every scale.
    """
    before = statistics(fit.network, fit.regime) if state.scale.enabled else []
    while (passes := _attempt(fit, state, drawn)) is None:
        check_scale(fit, state)
        put_back(before, fit.network, fit.regime)
    return passes


def statistics(network: nn.Module, regime: Regime) -> Statistics:
    """Copies of what forward passes move: of batch norms, the teacher's too, and of the balance of classes."""
    states = dict(network.named_buffers()), regime.state_dict()
    return [{name: value.clone() for name, value in state.items()} for state in states]


def put_back(before: Statistics, network: nn.Module, regime: Regime) -> None:
    """Undo what forward passes have moved since `statistics`."""
    buffers, state = before
    for name, buffer in network.named_buffers():
        buffer.copy_(buffers[name])
    regime.load_state_dict(state)


def _attempt(fit: Fit, state: State, drawn: Drawn) -> list[Pass] | None:
    """A step on these batches; None, and no weight moves, where a gradient overflowed."""
    torch.manual_seed((fit.seed * 1_000_003 + state.step) * 64 + process_index())
    fit.optimizer.zero_grad()
    passes = []
    with kernels(fit.precision, autotune=fit.options.autotune):
        for place in range(len(drawn.batches)):
            losses = _backward(fit, state, _moved(fit, drawn, place), last=place == len(drawn.batches) - 1)
            passes.append(Pass(losses, fit.regime.signals))
    average_gradients(fit.regime.modules().values())
    if fit.options.clip_norm is not None:
        state.scale.clip(fit.optimizer, fit.clipped, fit.options.clip_norm)
    return passes if state.scale.step(fit.optimizer) else None


def _moved(fit: Fit, drawn: Drawn, place: int) -> Batch | Pair:
    """One of the batches on its device, with the share of its labelled part in the loss of the step."""
    moved = drawn.batches[place].to(fit.accelerator.device)
    share = partial(
        with_shares, counts=drawn.counts[place], everyone=drawn.everyone, process=process_index(), place=place
    )
    return replace(moved, source=share(moved.source)) if isinstance(moved, Pair) else share(moved)


def _backward(fit: Fit, state: State, batch: Batch | Pair, *, last: bool) -> list[dict[str, Tensor]]:
    """Add the gradients of a batch; what its losses were."""
    groups = []
    for losses in _losses(fit, batch, last=last):
        parts = {name: loss / fit.options.accumulate for name, loss in losses.items()}
        state.scale.backward(total(parts))
        groups.append({name: part.detach() for name, part in parts.items()})
    return groups


def _losses(fit: Fit, batch: Batch | Pair, *, last: bool) -> Iterator[dict[str, Tensor]]:
    """The regime's losses; the last pass of the last batch of a step is the one after which processes average."""
    groups = fit.regime.losses(batch)
    for left in reversed(range(fit.regime.passes)):
        # Left open while the loop goes backward: what is averaged is decided in both passes.
        with nullcontext() if last and not left else fit.accelerator.no_sync(fit.model):
            yield next(groups)
    yield from groups
