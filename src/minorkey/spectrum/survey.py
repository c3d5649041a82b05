"""A network -> rows: the spectrum of every weight that an adapter could go to, and of what a training added."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn

from minorkey.adapters.decompose import singular_triplets
from minorkey.adapters.options import Role
from minorkey.adapters.roles import Layers
from minorkey.adapters.selection import check_rank, check_weight
from minorkey.adapters.targets import Target, find_targets
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
from minorkey.system.console import PlainConsole
from minorkey.system.progress import Reporter

T = TypeVar("T")
Ranks = int | Callable[[int], int]
"""A rank, or what gives that of a block (0-based), such as `MethodOptions.rank_in`."""


def survey_weights(
    network: nn.Module,
    rank: Ranks = 16,
    *,
    roles: Collection[Role] | None = None,
    layers: Layers | None = None,
    console: Console | None = None,
) -> list[WeightRow]:
    """The spectrum of every adaptable weight; query, key and value of a fused projection count apart.

    Args:
        network: any network in which layers are found by role, without adapters.
        rank: how many of the smallest singular values count as minor; of a weight with fewer, all do.
        roles: which layers; None for all.
        layers: further names of layers per role, for a network of your own.
        console: where progress is shown; None: standard error.

    Raises:
        AdapterError: no layer matches, the rank fits no weight, or weights are quantised or not finite.
    """
    ranked = _checked_targets(network, rank, roles, layers)
    return list(_reported(ranked, lambda each: _weight_row(*each), "surveying the weights", console))


def survey_update(
    before: nn.Module,
    after: nn.Module,
    rank: Ranks = 16,
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
        roles: as in `survey_weights`, and so are the others.
        layers: further names.
        console: for progress.

    Raises:
        AdapterError: as `survey_weights`, or the two networks have different layers.
    """
    old, new = (_checked_targets(network, rank, roles, layers) for network in (before, after))
    if [(t.name, t.weight.shape) for t, _ in old] != [(t.name, t.weight.shape) for t, _ in new]:
        raise AdapterError(
            f"the trained {type(after).__name__} has other layers than the pretrained {type(before).__name__}; "
            "fold its adapter in first, and compare it with the network it started from"
        )
    pairs = [(target, trained, size) for (target, size), (trained, _) in zip(old, new, strict=True)]
    return list(_reported(pairs, lambda each: _update_row(*each), "surveying the update", console))


def _checked_targets(
    network: nn.Module, rank: Ranks, roles: Collection[Role] | None, layers: Layers | None
) -> list[tuple[Target, int]]:
    """The targets, each with its rank: no more than it has."""
    targets = find_targets(network, roles, layers)
    for target in targets:
        check_weight(target)
    ranks = [rank(target.block) if callable(rank) else rank for target in targets]
    widest = max(range(len(targets)), key=lambda place: min(targets[place].matrix_shape))
    check_rank(targets[widest], ranks[widest])
    return [(target, min(wanted, *target.matrix_shape)) for target, wanted in zip(targets, ranks, strict=True)]


def _reported(items: list[T], row: Callable[[T], object], label: str, console: Console | None) -> Iterator:
    with Reporter(console or PlainConsole(stderr=True), label, len(items), unit="weight") as reporter:
        for count, item in enumerate(items, start=1):
            yield row(item)
            reporter.update(count)


def _weight_row(target: Target, rank: int) -> WeightRow:
    values = singular_values(_matrix(target))
    return WeightRow(
        **_which(target, rank),
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
        **_which(target, rank),
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


def _which(target: Target, rank: int) -> dict[str, Any]:
    """The fields of `Row`."""
    out, columns = target.matrix_shape
    return {
        "layer": target.name, "role": target.role, "block": target.block, "out": out, "columns": columns, "rank": rank
    }  # fmt: skip


def _matrix(target: Target) -> Tensor:
    """The weight as a matrix, in float64 on the CPU: some accelerators have no float64."""
    return target.weight.detach().flatten(1).to("cpu", torch.float64)
