"""`minorkey evaluate`."""

from pathlib import Path

import typer


def evaluate(
    run: Path = typer.Argument(help="Folder of a finished run."),
    overrides: list[str] | None = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="E.g. `evaluation.flip=true`, `evaluation.images=20`."
    ),
    unseen: list[str] | None = typer.Option(None, help="Other data set to judge on; repeatable."),
    out: Path | None = typer.Option(None, help="Where the scores go; default: the run folder, or below it."),
) -> None:
    """Judge a finished run again: as trained, on other domains, or under another protocol.

    Scores measured another way never replace the run's own; they go to RUN/evaluations/.

    Examples:

    * `minorkey evaluate runs/soma`

    * `minorkey evaluate runs/soma --unseen world:night --unseen mydata:val evaluation.flip=true`
    """
    from minorkey import api
    from minorkey.cli.show import show_scores
    from minorkey.config import parse_overrides

    given = parse_overrides(overrides or [])
    if unseen:
        given["unseen"] = unseen
    target = out or api.evaluation_folder(run, given)
    api.evaluate(run, out=target, **given)
    show_scores([target])
    typer.echo(f"scores: {target / 'metrics.json'}")
