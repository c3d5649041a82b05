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
    quick: bool = typer.Option(False, help="Full fine-tuning and SoMA alone, one seed: a minute or two."),
    jobs: int | None = typer.Option(
        None,
        min=1,
        max=1024,
        help="Runs at a time.",
        show_default="as many as cores and memory allow, one on a GPU",
    ),
) -> None:
    """See it work: no data, no downloads, a laptop CPU.

    A model that was trained over a small frozen backbone is adapted on clear days of a drawn street world,
    with full fine-tuning, LoRA and SoMA, three seeds each, and judged at night, in fog, rain, snow, in a
    foreign town, none of which it saw labelled. The page says what each gained and lost against the start.
    An interrupted demo goes on where it stopped.

    * `minorkey demo --quick`

    * `minorkey demo --task detection --quick`
    """
    from minorkey.system.beside import prepare

    prepare()
    from minorkey.cli.show import show_next, show_scores
    from minorkey.reporting.demo import demo as run_demo
    from minorkey.reporting.demo import demo_runs
    from minorkey.reporting.next_steps import after_demo

    folder = out or Path("runs/demo" if task == TASK else f"runs/demo-{task}")
    page = run_demo(folder, task=task, quick=quick, jobs=jobs)
    runs = demo_runs(folder, quick)
    show_scores(runs)
    typer.echo(f"page: {page}")
    show_next(after_demo(runs[-1]))
