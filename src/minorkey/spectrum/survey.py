"""A network -> rows: the spectrum of every weight that an adapter could go to, and of what a training added."""

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn

from minorkey.adapters.decompose import singular_triplets
from minorkey.adapters.options import Role
from minorkey.adapters.targets import Layers, Target, find_targets
from minorkey.errors import AdapterError
from minorkey.spectrum.measures import (
    INTRUDER_TOP,
    NOTHING,
    effective_rank,
    intruder_count,
    minor_share,
    random_share,
    relative_size,
    singular_values,
    singular_vectors,
    stable_rank,
    subspace_share,
)
from minorkey.spectrum.rows import ROUNDING, UpdateRow, WeightRow
from minorkey.training.progress import Reporter

T = TypeVar("T")


def survey_weights(
    network: nn.Module,
    rank: int = 16,
    *,
    roles: Collection[Role] | None = None,
    layers: Layers | None = None,
    console: Console | None = None,
) -> list[WeightRow]:
    """The spectrum of every adaptable weight; query, key and value of a fused projection count apart.

    Args:
        network: any network in which layers are found by role, without adapters.
        rank: how many of the smallest singular values count as minor.
        roles: which layers; None for all.
        layers: further names of layers per role, for a network of your own.
        console: where progress is shown; None: standard error.

    Raises:
        AdapterError: no layer matches, the rank is larger than a weight, or a weight is not finite.
    """
    targets = find_targets(network, roles, layers)
    for target in targets:
        _check_rank(target, rank)
    return list(_reported(targets, lambda target: _weight_row(target, rank), "surveying the weights", console))


def survey_update(
    before: nn.Module,
    after: nn.Module,
    rank: int = 16,
    *,
    roles: Collection[Role] | None = None,
    layers: Layers | None = None,
    console: Console | None = None,
) -> list[UpdateRow]:
    """What lies between two states of one network, weight by weight, however it was trained.

    Args:
        before: the pretrained network.
        after: the same network after training, adapters folded in.
        rank: size of the major and of the minor subspace.
        roles: which layers; None for all.
        layers: further names of layers per role, for a network of your own.
        console: where progress is shown; None: standard error.

    Raises:
        AdapterError: as `survey_weights`, or the two networks have different layers.
    """
    targets, trained = find_targets(before, roles, layers), find_targets(after, roles, layers)
    if [(t.name, t.weight.shape) for t in targets] != [(t.name, t.weight.shape) for t in trained]:
        raise AdapterError(
            f"the trained {type(after).__name__} has other layers than the pretrained {type(before).__name__}; "
            "fold its adapter in first, and compare it with the network it started from"
        )
    for target in targets:
        _check_rank(target, rank)
    pairs = list(zip(targets, trained, strict=True))
    return list(_reported(pairs, lambda pair: _update_row(*pair, rank), "surveying the update", console))


def _reported(items: list[T], row: Callable[[T], object], label: str, console: Console | None) -> Iterator:
    with Reporter(console or Console(stderr=True), label, len(items), unit="weight") as reporter:
        for count, item in enumerate(items, start=1):
            yield row(item)
            reporter.update(count)


def _weight_row(target: Target, rank: int) -> WeightRow:
    values = singular_values(_matrix(target))
    out, columns = target.matrix_shape
    return WeightRow(
        layer=target.name,
        role=target.role,
        block=target.block,
        out=out,
        columns=columns,
        rank=rank,
        energy=float(values.square().sum()),
        effective_rank=effective_rank(values),
        stable_rank=stable_rank(values),
        minor_share=minor_share(values, rank),
        singular_values=tuple(values.tolist()),
    )


def _update_row(target: Target, trained: Target, rank: int) -> UpdateRow:
    weight, result = _matrix(target), _matrix(trained)
    update = result - weight
    size = relative_size(update, weight)
    if size <= ROUNDING:
        size, update = 0.0, torch.zeros_like(update)
    values = singular_values(update)
    major, minor, intruders = NOTHING, NOTHING, 0
    if size:
        left, right = singular_vectors(weight)
        major = subspace_share(update, left[:, :rank], right[:, :rank])
        minor = subspace_share(update, left[:, -rank:], right[:, -rank:])
        intruders = intruder_count(left, singular_triplets(result, min(INTRUDER_TOP, len(values)), "major")[0])
    return UpdateRow(
        layer=target.name,
        role=target.role,
        block=target.block,
        out=len(weight),
        columns=weight.shape[1],
        rank=rank,
        energy=float(values.square().sum()),
        relative_size=size,
        effective_rank=effective_rank(values),
        stable_rank=stable_rank(values),
        major=major,
        minor=minor,
        random=random_share(target.matrix_shape, rank),
        intruders=intruders,
        singular_values=tuple(values.tolist()),
    )


def _matrix(target: Target) -> Tensor:
    """The weight as a matrix, in float64 on the CPU: some accelerators have no float64."""
    matrix = target.weight.detach().flatten(1).to("cpu", torch.float64)
    if not matrix.isfinite().all():
        raise AdapterError(f"layer '{target.name}' holds values that are not finite; take another checkpoint")
    return matrix


def _check_rank(target: Target, rank: int) -> None:
    largest = min(target.matrix_shape)
    if not 1 <= rank <= largest:
        out, columns = target.matrix_shape
        raise AdapterError(
            f"rank {rank} does not fit layer '{target.name}' of size {out} x {columns}; give 1 to {largest}"
        )
