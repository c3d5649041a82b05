"""What to do next with the runs of a page, as commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from minorkey.reporting.runs import Run
from minorkey.reporting.tables import is_start

ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Step:
    """Something to do, and the command that does it."""

    why: str
    command: str


def next_steps(run: Run, methods: Sequence[Run]) -> list[Step]:
    """For a reader of the page.

    Args:
        run: the method that it is about.
        methods: all of it.
    """
    folder = quote(str(run.folder))
    steps = [
        Step("Look at your own images through the adapted model:", f"minorkey predict {folder} PHOTOS --out predicted"),
        Step("Ask what it withstands: night, fog, snow, noise, blur at five strengths:", _robustness(folder)),
        Step("See what the training changed in the weights:", f"minorkey spectrum {folder} --images 4"),
        Step("Take it away as a plain transformers model:", f"minorkey export {folder} --to model --out model"),
    ]
    if again := _another_seed(run, methods):
        steps.insert(0, again)
    return [*steps, Step("Do the same with your data and a backbone that has seen the world:", _own(run))]


def _robustness(folder: str) -> str:
    return f"minorkey evaluate {folder} --robustness"


def _another_seed(run: Run, methods: Sequence[Run]) -> Step | None:
    """More seeds where there are few: an interval over images says nothing of the randomness of training."""
    trained = [method for method in methods if not is_start(method.scores) and method.config]
    if len(trained) < 2 or len(run.seeds) >= ENOUGH_SEEDS:
        return None
    config, seed = quote(str(run.folder / "config.yaml")), (run.scores.training.seed or 0) + len(run.seeds)
    out = quote(str(run.folder.with_name(f"{run.folder.name}-seed{seed}")))
    return Step(
        "Train each method again with other seeds, and give all runs to minorkey report, which pairs them:",
        f"minorkey train {config} seed={seed} --out {out}",
    )


def _own(run: Run) -> str:
    task = "" if run.scores.task == "segmentation" else f" task={run.scores.task}"
    return f"minorkey train{task} --source MYDATA --unseen ELSEWHERE --backbone dinov2-small --out runs/mine"
