"""Scenes side by side, a group for each domain; how one is drawn is its task's matter."""

from collections.abc import Sequence
from typing import Any

from minorkey.labels import LabelSpace
from minorkey.reporting.median import pictured
from minorkey.reporting.runs import Run
from minorkey.tasks.base import Task
from minorkey.tasks.gallery import Kept

NEAR = 0.03
"""An image is called the median one if no more than this share of the judged images lie between."""


def build_gallery(runs: Sequence[Run], space: LabelSpace, per_domain: int = 2) -> dict[str, list[Any]]:
    """The first `per_domain` kept images of every domain in the order of `pictured`, the median one before the others.

    Args:
        runs: runs of one task, measured in the same way.
        space: their label space.
        per_domain: how many.

    Returns:
        Scenes of the task, by domain, in the order of the score table.

    Raises:
        DataError: A file cannot be read, or a prediction has another size than its truth.
    """
    domains = dict.fromkeys(score.domain for run in runs for score in run.scores.domains)
    chosen = {domain: [each.place for each in pictured(runs, domain)[:per_domain]] for domain in domains}
    return {
        domain: [_task(runs).scene(Kept(*place, [run.samples.get(place) for run in runs]), space) for place in kept]
        for domain, kept in chosen.items()
        if kept
    }


def choice_words(runs: Sequence[Run]) -> str:
    """How the first image of each domain was chosen, a sentence; empty where there are no pictures."""
    domains = dict.fromkeys(score.domain for run in runs for score in run.scores.domains)
    first = [found[0].off for domain in domains if (found := pictured(runs, domain))]
    if not first:
        return ""
    if None in first:
        return "Shown is the first image of each domain that has pictures."
    metric, among = runs[0].scores.metric.name, " averaged over the methods" if len(runs) > 1 else ""
    words = f"Shown is the median image of each domain, by its {metric}{among}"
    farthest = max(off for off in first if off is not None)
    if farthest <= NEAR:
        return f"{words}: neither the best nor the worst."
    return f"{words}, or the nearest that has pictures: up to {100 * farthest:.0f} % of the judged images lie between."


def classes_shown(runs: Sequence[Run], space: LabelSpace) -> set[int]:
    """Train ids that occur in the truth of any kept sample, and in what is shown of predictions."""
    folders = [folder for run in runs for folder in run.samples.values()]
    return _task(runs).classes_shown(folders, space) if folders else set()


def _task(runs: Sequence[Run]) -> Task:
    return runs[0].scores.of_task
