"""The demo: runs of the built-in world, made side by side for one page."""

from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.errors import ConfigError
from minorkey.reporting.page import build_report
from minorkey.runs.api import train
from minorkey.system.processes import from_main
from minorkey.tasks.table import task_named

DEMO_METHODS = ("soma", "lora", "full", "frozen")


def demo(
    out: str | Path = "runs/demo",
    *,
    task: str = "segmentation",
    quick: bool = False,
    console: Console | None = None,
    **overrides: Any,
) -> Path:
    """Train on clear days of the built-in world, evaluate on domains never seen, and show it on a page.

    Four methods side by side, or SoMA alone with `quick`. What an interrupted demo had finished is kept.

    Raises:
        ConfigError: there is no such task, or it has no demo.

    Returns:
        The page, `report.html` in `out`.
    """
    shown = task_named(task).demo
    if shown is None:
        raise ConfigError(f"task {task} has no demo; train it on your data, `minorkey train task={task} source=...`")
    folders = demo_runs(out, quick)
    preset = shown + ("_quick" if quick else "")  # the smaller brother of the preset
    for folder in folders:
        train(preset, method=folder.name, out=folder, resume=True, console=console, **overrides)
    title = "Trained on clear days, judged elsewhere"
    return from_main(lambda: build_report(folders, Path(out) / "report.html", title))


def demo_runs(out: str | Path, quick: bool = False) -> list[Path]:
    """The run folders of a demo, named after their methods."""
    return [Path(out) / name for name in (("soma",) if quick else DEMO_METHODS)]
