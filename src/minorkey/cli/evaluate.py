"""`minorkey evaluate`."""

from pathlib import Path

import typer


def evaluate(
    run: Path = typer.Argument(help="Folder of a finished run, or an ONNX file that was exported of one."),
    overrides: list[str] | None = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="E.g. `evaluation.flip=true`, `evaluation.images=20`."
    ),
    unseen: list[str] | None = typer.Option(None, help="Other data set to judge on; repeatable."),
    robustness: bool = typer.Option(False, help="Judge them under every corruption too: a table and a plot."),
    severity: list[int] | None = typer.Option(None, help="Of the corruptions, 1 to 5; repeatable; default: all."),
    submission: str | None = typer.Option(None, help="cityscapes or acdc: only write predictions for its test server."),
    out: Path | None = typer.Option(None, help="Where the scores go; default: the run folder, or below it."),
) -> None:
    """Judge a finished run again: as trained, on other domains, or under another protocol.

    Scores measured another way never replace the run's own; they go to RUN/evaluations/.

    Examples:

    * `minorkey evaluate runs/soma`

    * `minorkey evaluate runs/soma --unseen world:night --unseen mydata:val evaluation.flip=true`

    * `minorkey evaluate runs/soma --unseen camvid:val+night@3` (one corruption; `--robustness` takes all of them)

    * `minorkey evaluate runs/soma --unseen cityscapes:test --submission cityscapes --out to-the-server`
    """
    from minorkey.cli.show import show_next, show_scores
    from minorkey.config import parse_overrides
    from minorkey.errors import ConfigError
    from minorkey.reporting.next_steps import after_judging
    from minorkey.runs import api

    given = parse_overrides(overrides or [])
    if unseen:
        given["unseen"] = unseen
    if severity and not robustness:
        raise ConfigError("--severity is of the corruptions of --robustness; give both, or --unseen NAME+night@3")
    if submission:
        written, folder = api.write_submission(run, submission, out=out, **given)
        typer.echo(f"{written} predictions written to '{folder}'")
        return
    if robustness:
        given = api.under_corruptions(run, given, severity)
    target = out or api.evaluation_folder(run, given)
    api.evaluate(run, out=target, **given)
    if robustness:
        from minorkey.cli.show_robustness import show_robustness
        from minorkey.system.processes import from_main

        from_main(lambda: show_robustness(target))
    else:
        show_scores([target])
    typer.echo(f"scores: {target / 'metrics.json'}")
    show_next(after_judging(run, target, robustness=robustness))
