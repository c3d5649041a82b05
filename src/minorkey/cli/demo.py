"""`minorkey demo`."""

from pathlib import Path

import typer

TASK = "segmentation"
"""Whose runs lie in `runs/demo`."""


def demo(
    out: Path | None = typer.Option(
        None, help="Folder for the runs and the page.", show_default="runs/demo, or runs/demo-detection"
    ),
    task: str = typer.Option(TASK, help="segmentation (classes of pixels) or detection (boxes)."),
    quick: bool = typer.Option(False, help="SoMA alone, fewer steps: a minute or two instead of minutes."),
) -> None:
    """See it work: no data, no downloads, a laptop CPU.

    A small pretrained backbone is adapted on clear days of a drawn street world, with SoMA and three
    baselines (LoRA, full fine-tuning, frozen), and judged at night, in fog, rain, snow, in a foreign town,
    none of which it saw labelled. The page compares them. An interrupted demo goes on where it stopped.

    * `minorkey demo --quick`

    * `minorkey demo --task detection --quick`
    """
    from minorkey.cli.show import show_scores
    from minorkey.reporting.demo import demo as run_demo
    from minorkey.reporting.demo import demo_runs

    folder = out or Path("runs/demo" if task == TASK else f"runs/demo-{task}")
    page = run_demo(folder, task=task, quick=quick)
    show_scores(demo_runs(folder, quick))
    typer.echo(f"page: {page}")
