"""`minorkey report`."""

from pathlib import Path

import typer


def report(
    runs: list[Path] = typer.Argument(help="Run folders, or folders of them, shown side by side."),
    out: Path | None = typer.Option(
        None,
        help="File to write: .html a page, .md or .csv its scores. Default: report.html in the only folder, or in the "
        "working folder.",
    ),
    title: str | None = typer.Option(None, help="Heading of the page."),
) -> None:
    """Write one page about one or several runs: what changed and for whom, pictures, scores, curves, costs.

    Runs that differ in their seed alone are taken together, and methods are compared seed by seed. A run with
    `training.steps=0 head_from=RUN` is what the others are compared with: what they began with. The page is one file;
    nothing is loaded from elsewhere. As .md it is the headline and the scores, to paste where Markdown is read; as .csv
    a line for each run and domain, to compute with.

    Examples:

    * `minorkey report runs/soma runs/lora --out compare.html`

    * `minorkey report runs/demo`

    * `minorkey report runs/demo --out scores.md`
    """
    from minorkey.reporting.page import report as write_report
    from minorkey.reporting.plain import TABLES

    written = write_report(runs, out, title)
    typer.echo(f"{'scores' if written.suffix.lower() in TABLES else 'page'}: {written}")
