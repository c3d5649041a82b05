"""`minorkey demo`."""

from pathlib import Path

import typer


def demo(
    out: Path = typer.Option(Path("runs/demo"), help="Folder for the runs and the page."),
    quick: bool = typer.Option(False, help="SoMA alone, fewer steps: a minute instead of minutes."),
) -> None:
    """See it work: no data, no downloads, a laptop CPU.

    A small pretrained backbone is adapted on clear days of a drawn street world, with SoMA and three
    baselines (LoRA, full fine-tuning, frozen), and judged at night, in fog, rain, snow, in a foreign town,
    none of which it saw labelled. The page compares them. An interrupted demo goes on where it stopped.
    """
    from minorkey import api
    from minorkey.cli.show import show_scores

    page = api.demo(out, quick=quick)
    show_scores(api.demo_runs(out, quick))
    typer.echo(f"page: {page}")
