"""`minorkey tune`."""

from pathlib import Path
from typing import Any

import typer

from minorkey.cli.settings import Backbone, DataRoot, Method, Overrides, Preset, settings


def tune(
    preset: Preset = None,
    overrides: Overrides = None,
    out: Path | None = typer.Option(None, help="Folder of the trials and the page; default runs/tune-PRESET."),
    method: Method = None,
    methods: str | None = typer.Option(None, help="Several, each with a rate of its own: full,lora,soma."),
    rates: str | None = typer.Option(
        None, help="1e-4,3e-4,1e-3; default: a third of the preset's rate, that rate, three times it."
    ),
    steps: int | None = typer.Option(None, min=1, help="Of each trial; default: those of the training."),
    seeds: int = typer.Option(1, min=1, max=100, help="Trials of each rate."),
    under: str | None = typer.Option(
        None, help="Corruptions, under which the source counts as well: night@3,fog@3,defocus_blur@3."
    ),
    tolerance: float | None = typer.Option(
        None,
        min=0,
        help="How far below the best score the lowest rate that is taken may be; 0: the best one; "
        "default: half a point of a score in percent.",
    ),
    source: list[str] | None = typer.Option(None, help="Labelled data set to train on; repeatable."),
    backbone: Backbone = None,
    data_root: DataRoot = None,
) -> None:
    """Choose learning rates by the validation images of the source; no image of an unseen domain is opened.

    What is best at home need not be what holds up elsewhere: of rates that are nearly as good the lowest is taken
    (`--tolerance`), and with `--under` the source counts under corruptions, too. A grid goes on where its best rate is
    at an edge. An interrupted call goes on where it stopped. The page says what each rate reached, and the chosen one
    is in OUT/METHOD.yaml, a preset for `minorkey train`.

    Examples:

    * `minorkey tune demo --methods full,lora,soma --steps 100`

    * `minorkey tune demo --methods frozen,lora,soma --under night@3,fog@3,gaussian_noise@2`

    * `minorkey tune --source mydata --backbone dinov2-small --rates 1e-5,1e-4 --out runs/rates`
    """
    from minorkey.cli.show import show_next
    from minorkey.reporting.tuned import after_tuning, tuned_page
    from minorkey.runs.tune import tune as run
    from minorkey.system.processes import from_main

    options: dict[str, Any] = {"method": method, "source": source, "backbone": backbone, "data_root": data_root}
    preset, given = settings(preset, overrides, options)
    folder = out or Path("runs") / f"tune-{Path(preset or 'run').stem}"
    choices = run(
        preset,
        given,
        out=folder,
        methods=_names(methods),
        rates=_numbers(rates),
        steps=steps,
        seeds=seeds,
        under=_names(under),
        tolerance=tolerance,
    )
    for choice in choices:
        nearly = f" (best: {choice.best:g}, {choice.text(choice.best)})" if choice.rate != choice.best else ""
        told = f"{choice.metric.name} {choice.text(choice.rate)} on the source"
        typer.echo(f"{choice.method}: {choice.key}={choice.rate:g}, {told}{nearly}")
        if choice.flat:
            typer.echo("  the source does not tell the rates that were tried apart; see whether frozen does as well")
        if choice.at_edge:
            typer.echo("  that is the edge of what was tried; look further with --rates around it")
    typer.echo(f"page: {from_main(lambda: tuned_page(choices, folder))}")
    show_next(after_tuning(choices))


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _numbers(text: str | None) -> list[float]:
    from minorkey.errors import ConfigError

    try:
        return [float(part) for part in (text or "").split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(f"--rates is '{text}'; expected numbers with commas between them, e.g. 1e-4,1e-3") from error
