"""Which pictures stand for a domain: those of the median image, neither the best nor the worst."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minorkey.reporting.runs import Place, Run, same_images
from minorkey.tasks.evidence import Floats

MOST = 200
"""Images of a domain that the median is taken over, evenly spaced; each is scored by itself."""


class Pictured(NamedTuple):
    """An image with pictures, and where it stands among those judged."""

    place: Place
    off: float | None  # share of the judged images that are between it and the median one, 0 ... 1; None: not known


def pictured(runs: Sequence[Run], domain: str) -> list[Pictured]:
    """The images of a domain that have pictures, the one nearest to the median first.

    An image's score is the metric of the domain over this image alone, averaged over the runs. Where it is not known
    which of the judged images those are, as of runs of an earlier version, they come in the order of their keys.

    Args:
        runs: that were measured in the same way.
        domain: of theirs.
    """
    kept = sorted({place for run in runs for place in run.samples if place[0] == domain})
    rows = next((run.places for run in runs if all(place in run.places for place in kept)), None)
    scores = _image_scores(runs, domain, [rows[place] for place in kept]) if kept and rows else None
    if scores is None:
        return [Pictured(place, None) for place in kept]
    own, judged = scores
    least = min(_from_the_middle(score, judged) for score in judged)
    found = [
        (_from_the_middle(score, judged) - least, place)
        for place, score in zip(kept, own, strict=True)
        if not np.isnan(score)
    ]
    return [Pictured(place, max(0.0, off)) for off, place in sorted(found)]


def _from_the_middle(score: float, judged: Floats) -> float:
    """How far the rank of a score is from the middle one, as a share of all."""
    return abs(float(np.mean(judged > score)) + float(np.mean(judged == score)) / 2 - 0.5)


def _image_scores(runs: Sequence[Run], domain: str, rows: Sequence[int]) -> tuple[Floats, Floats] | None:
    """Mean score over the runs of some images, and of all that are looked at; None where no run has its evidence."""
    found = [run.evidence[domain] for run in runs if run.evidence and domain in run.evidence]
    if len(found) < len(runs) or len({evidence.shape for evidence in found}) != 1 or not same_images(runs, domain):
        return None
    count = found[0].shape[0]
    if max(rows) >= count:
        return None
    looked_at = np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))
    alone = np.zeros((len(rows) + len(looked_at), count), np.int64)
    alone[np.arange(len(alone)), [*rows, *looked_at]] = 1
    scores = np.mean([evidence.scores(alone) for evidence in found], axis=0)
    own, others = scores[: len(rows)], scores[len(rows) :]
    judged = others[~np.isnan(others)]
    return (own, judged) if judged.size else None
