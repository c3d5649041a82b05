"""`minorkey export`."""

from pathlib import Path

import typer


def export(
    run: Path = typer.Argument(help="Folder of a finished run."),
    to: str = typer.Option("adapter", help="'adapter' (PEFT) or 'model' (transformers)."),
    out: Path | None = typer.Option(
        None, help="Folder to write; default: export/adapter or export/model in the run folder."
    ),
    push_to: str | None = typer.Option(
        None, help="Also upload it to this repository of the hub, user/name; created private where there is none."
    ),
) -> None:
    """Write a run for others: what comes out loads where minorkey is not installed.

    **adapter** is a stock PEFT folder, a few megabytes, for whoever has the same pretrained backbone. The head is not
    in it.

    **model** is a transformers folder with everything folded in: the whole segmentation model, and in its
    `backbone/` the adapted backbone alone, with the modules and names of the pretrained one (for the head `eomt`, the
    model is its backbone). Every method has one.

    The README.md in the folder says what it is made of, how to load it, and how it scored. An earlier export is
    replaced once the new one is complete. Nothing leaves this machine without --push-to.

    Example: `minorkey export runs/soma --to model --out soma-model`
    """
    from minorkey.export.run import export_run

    exported = export_run(run, to, out=out, push_to=push_to)
    typer.echo(f"{to}: {exported.folder}\n\n{exported.code}")
