"""The scores of a finished run, and a few pictures of what it predicts, in its trackers."""

from itertools import islice

import numpy as np
from PIL import Image
from rich.console import Console

from minorkey.config import RunConfig, saved_values
from minorkey.evaluation.evidence_files import read_places
from minorkey.evaluation.scores import ScoreTable
from minorkey.runs.load import load
from minorkey.system.names import below
from minorkey.system.processes import is_main
from minorkey.system.run_folder import RunFolder
from minorkey.training.tracking import Tracking, tracking

PICTURED = 4
"""Pictures, each of another domain as far as there are as many."""


def track_result(config: RunConfig, folder: RunFolder, scores: ScoreTable, console: Console) -> None:
    """Give a run's trackers, if it has any, what it came to."""
    if not config.training.track or not is_main():
        return
    step = scores.training.steps or 0
    with tracking(config.training.track, folder, saved_values(config), console, step) as tracked:
        final = {domain.domain: domain.score for domain in scores.domains}
        if scores.unseen_mean is not None:
            final["unseen mean"] = scores.unseen_mean.score
        tracked.note({"step": step, "final": final})
        _show(tracked, folder, step)


def _show(tracked: Tracking, folder: RunFolder, step: int) -> None:
    """Draw what the run predicts for images that are kept of its evaluation."""
    first_of_domain = dict(reversed(read_places(folder)))
    places = list(islice(first_of_domain.items(), PICTURED))
    if not places or not tracked.trackers:
        return
    predictor, pictures = load(folder.path), {}
    for domain, key in places:
        with Image.open(below(folder.samples, domain, key) / "image.png") as file:
            image = np.asarray(file.convert("RGB"))
        pictures[f"predictions/{domain}"] = np.asarray(predictor.predict(image).draw().convert("RGB"))
    tracked.picture(pictures, step)
