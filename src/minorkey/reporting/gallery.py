"""Scenes side by side, a group for each domain; how one is drawn is its task's matter."""

from collections.abc import Sequence
from typing import Any

from minorkey.labels import LabelSpace
from minorkey.reporting.runs import Run
from minorkey.tasks.base import Task
from minorkey.tasks.gallery import Kept


def build_gallery(runs: Sequence[Run], space: LabelSpace, per_domain: int = 2) -> dict[str, list[Any]]:
    """The first `per_domain` kept samples of every domain, in the order of the score table.

    Args:
        runs: runs of one task.
        space: their label space.
        per_domain: how many.

    Returns:
        Scenes of the task, by domain.

    Raises:
        DataError: A file cannot be read, or a prediction has another size than its truth.
    """
    domains = dict.fromkeys(score.domain for run in runs for score in run.scores.domains)
    places = sorted({place for run in runs for place in run.samples})
    chosen = {domain: [place for place in places if place[0] == domain][:per_domain] for domain in domains}
    return {
        domain: [_task(runs).scene(Kept(*place, [run.samples.get(place) for run in runs]), space) for place in kept]
        for domain, kept in chosen.items()
        if kept
    }


def classes_shown(runs: Sequence[Run], space: LabelSpace) -> set[int]:
    """Train ids that occur in the truth of any kept sample, and in what is shown of predictions."""
    folders = [folder for run in runs for folder in run.samples.values()]
    return _task(runs).classes_shown(folders, space) if folders else set()


def _task(runs: Sequence[Run]) -> Task:
    return runs[0].scores.of_task
