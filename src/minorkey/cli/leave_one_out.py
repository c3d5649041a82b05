"""`minorkey leave-one-out`."""

from pathlib import Path
from typing import Any

import typer

from minorkey.cli.train import EPILOG


def leave_one_out(
    preset: str | None = typer.Argument(None, help="A shipped preset, or the path of a YAML file."),
    overrides: list[str] | None = typer.Argument(None, metavar="[KEY=VALUE]...", help=EPILOG),
    out: Path | None = typer.Option(None, help="Folder of the run folders; default runs/PRESET-METHOD-SEED."),
    method: str | None = typer.Option(None, help="soma, lora, pissa, full or frozen."),
    source: list[str] | None = typer.Option(None, help="Labelled data set of several domains, or several of one."),
    backbone: str | None = typer.Option(None, help="'builtin', a local folder or a hub id."),
    data_root: Path | None = typer.Option(None, help="Folder that holds the named data sets."),
    seed: int | None = typer.Option(None, help="Of head, batches, dropout and drawn splits; equal seeds pair runs."),
    resume: bool = typer.Option(False, "--resume", help="Go on with what was left unfinished."),
) -> None:
    """Train once for each domain, on all others, judge on it, and print the table.

    The domains are those of `source` and `unseen` together. Each fold is a run folder in OUT, and
    `leave_one_out.csv` has the scores.

    Examples:

    * `minorkey leave-one-out pacs --data-root data --backbone dinov2-small --method lora`

    * `minorkey leave-one-out task=classification --source photos/pacs --out runs/pacs training.steps=500`
    """
    from minorkey.cli.show import show_folds
    from minorkey.config import parse_overrides, resolve
    from minorkey.runs.leave_one_out import leave_one_out as run

    arguments = list(overrides or [])
    if preset and "=" in preset:
        arguments.insert(0, preset)
        preset = None
    options: dict[str, Any] = {"method": method, "source": source, "backbone": backbone}
    options |= {"data_root": data_root, "seed": seed}
    given = parse_overrides(arguments, {key: value for key, value in options.items() if value not in (None, [])})
    config = resolve(preset, given)
    folder = out or Path("runs") / f"{Path(preset or 'leave-one-out').stem}-{config.method.name}-{config.seed}"
    show_folds(run(config, folder, resume=resume))
    typer.echo(f"run folders: {folder}")
