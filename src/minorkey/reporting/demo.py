"""The demo: runs of the built-in world, made side by side for one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.config import RunConfig, resolve
from minorkey.errors import ConfigError
from minorkey.reporting.page import build_report
from minorkey.reporting.runs import START
from minorkey.runs.side_by_side import jobs_for, train_side_by_side
from minorkey.system.ours import refuse_unmarked
from minorkey.system.processes import from_main
from minorkey.system.unforeseen import public
from minorkey.tasks.table import USUAL, task_named

METHODS, QUICK_METHODS = ("full", "lora", "soma"), ("full", "soma")
SEEDS = (0, 1, 2)
"""Of the batches; with one seed all methods see the same ones."""

TITLE = "Trained on clear days, judged elsewhere"


@public
def demo(
    out: str | Path = "runs/demo",
    *,
    task: str = USUAL,
    quick: bool = False,
    jobs: int | None = None,
    console: Console | None = None,
    **overrides: Any,
) -> Path:
    """Adapt a trained model to clear days of the built-in world, judge it in domains never seen, and show it on a page.

    All runs begin with a head that was trained over the frozen backbone. That start, as it is, stands beside full
    fine-tuning, LoRA and SoMA with three seeds each, or with `quick` beside full fine-tuning and SoMA with one. What an
    interrupted demo had finished is kept.

    Args:
        out: folder of the runs and the page.
        task: with a demo of its own.
        quick: less of everything.
        jobs: runs at a time; None: as cores and memory allow.
        console: where progress is shown; None: standard error.
        **overrides: of the preset.

    Raises:
        ConfigError: there is no such task, or it has no demo; or `out` holds runs with other settings.

    Returns:
        The page, `report.html` in `out`.
    """
    shown = task_named(task)
    if shown.demo is None:
        raise ConfigError(f"task {task} has no demo; train it on your data, `minorkey train task={task} source=...`")
    preset = shown.demo + ("_quick" if quick else "")  # the smaller brother of the preset
    runs = {folder: _config(preset, folder.name, overrides) for folder in demo_runs(out, quick)}
    start, *trained = runs
    from_main(lambda: refuse_unmarked([Path(out) / "report.html"]))
    in_order = {folder: runs[folder] for folder in [*trained, start]}  # the shortest last, to fill a gap
    train_side_by_side(in_order, jobs or jobs_for(runs[start]), console)
    return from_main(lambda: build_report(list(runs), Path(out) / "report.html", TITLE))


def demo_runs(out: str | Path, quick: bool = False) -> list[Path]:
    """The run folders of a demo in the order of its page: the start, then `METHOD-SEED`."""
    methods, seeds = (QUICK_METHODS, SEEDS[:1]) if quick else (METHODS, SEEDS)
    return [Path(out) / name for name in (START, *(f"{method}-{seed}" for method in methods for seed in seeds))]


def _config(preset: str, name: str, overrides: Mapping[str, Any]) -> RunConfig:
    """The configuration of one run; pictures are kept of the start and the first seed."""
    if name == START:
        training = {**overrides.get("training", {}), "steps": 0}
        return resolve(preset, {**overrides, "method": "frozen", "training": training})
    method, seed = name.split("-")
    given = {**overrides, "method": method, "seed": int(seed)}
    if int(seed) != SEEDS[0]:
        given["evaluation"] = {**overrides.get("evaluation", {}), "pictures": 0}
    return resolve(preset, given)
