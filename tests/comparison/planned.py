"""Runs of a plan, finished without training."""

import numpy as np

GRIDS = {"frozen": (0.02,), "lora": (3e-4, 1e-3, 3e-3), "soma": (1e-3, 3e-3, 1e-2)}


def finish(plan, job, validation=0.5, scores=None):
    values = {"way": job.way, "rate": job.rate, "fold": job.fold, "seed": job.seed, "validation": {"home": validation}}
    plan.results.write(job, {**values, "scores": scores or ({job.fold: 0.25} if job.unseen else {})})


def choose(plan, best):
    """Finish the runs that choose rates; `best` is each way's best rate, and the further off, the worse."""
    while wanted := [job for job in plan.wanted() if not job.unseen]:
        for job in wanted:
            finish(plan, job, 0.9 - abs(np.log(job.rate / best[job.way])) / 20)
