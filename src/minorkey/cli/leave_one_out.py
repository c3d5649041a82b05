"""`minorkey leave-one-out`."""

from pathlib import Path
from typing import Any

import typer

from minorkey.cli.settings import Backbone, DataRoot, Method, Overrides, Preset, default_folder, settings


def leave_one_out(
    preset: Preset = None,
    overrides: Overrides = None,
    out: Path | None = typer.Option(None, help="Folder of the run folders; default runs/PRESET-METHOD-SEED."),
    method: Method = None,
    source: list[str] | None = typer.Option(None, help="Labelled data set of several domains, or several of one."),
    backbone: Backbone = None,
    data_root: DataRoot = None,
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
    from minorkey.config import resolve
    from minorkey.runs.leave_one_out import leave_one_out as run

    options: dict[str, Any] = {"method": method, "source": source, "backbone": backbone}
    options |= {"data_root": data_root, "seed": seed}
    preset, given = settings(preset, overrides, options)
    config = resolve(preset, given)
    folder = out or default_folder(config, preset or "leave-one-out")
    show_folds(run(config, folder, resume=resume))
    typer.echo(f"run folders: {folder}")
