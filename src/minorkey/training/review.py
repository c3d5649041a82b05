"""What is looked at between steps every so often, for the choice of weights, for the log and as pictures.

It draws no random numbers, and leaves every module in the mode it was in: a training is the same with it or without.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from minorkey.models.modes import evaluating
from minorkey.system.processes import from_main
from minorkey.training.fit import Fit, Scores
from minorkey.training.sharding import unsharded, whole
from minorkey.training.snapshots import Snapshots
from minorkey.training.state import State


def review(fit: Fit, state: State) -> list[dict[str, Any]]:
    """Do what is due after a step, in all processes at one time; the records for the log."""
    if fit.snapshots is not None and state.due(fit.options.snapshot_every):
        _picture(fit, state, fit.snapshots)
    if not state.due(fit.options.judge_every):
        return []
    records = []
    if fit.validate is not None:
        records.append({"step": state.step, **_validate(fit, state, fit.validate)})
    if fit.watch is not None:
        records.append({"step": state.step, "watched": _watch(fit, fit.watch)})
    return records


def _picture(fit: Fit, state: State, snapshots: Snapshots) -> None:
    """Keep pictures of the pseudo-labels of now."""
    teacher = fit.regime.teacher
    assert teacher is not None, "only a regime with a teacher is pictured"
    from_main(lambda: snapshots.take(state.step, fit.network, teacher))


def _validate(fit: Fit, state: State, scores_of: Callable[[nn.Module], Scores]) -> dict[str, Any]:
    """Score the weights of now, and keep them if they are the best so far."""
    with evaluating(fit.network), unsharded(fit.network):
        scores = scores_of(fit.network)
    state.judged = state.step
    best = state.best.offer(state.step, sum(scores.values()) / len(scores), whole(fit.trained), fit.rank)
    return {"scores": scores, "best": best}


def _watch(fit: Fit, scores_of: Callable[[nn.Module], Scores]) -> dict[str, Scores]:
    """Score student and teacher by labels that nothing else sees."""
    with evaluating(fit.network), unsharded(fit.network):
        watched = {"student": scores_of(fit.network)}
    teacher = fit.regime.teacher
    if teacher is None:
        return watched
    if teacher.is_student and not teacher.own:
        return watched | {"teacher": watched["student"]}
    with teacher.installed() as network, evaluating(network):
        return watched | {"teacher": scores_of(network)}
