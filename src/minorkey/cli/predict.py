"""`minorkey predict`."""

from pathlib import Path

import typer


def predict(
    run: Path = typer.Argument(help="Folder of a finished run."),
    images: str = typer.Argument(help="An image, a folder of images, or a quoted glob."),
    out: Path = typer.Option(Path("predictions"), help="Folder for overlays/ and ids/."),
    overwrite: bool = typer.Option(False, help="Predict again what is there already."),
) -> None:
    """Segment images: an overlay to look at and an id map (8-bit PNG of class numbers) for each.

    classes.json in the output folder says which number is which class. Images done before are skipped, so
    an interrupted run goes on; a broken image is named and skipped, and the exit code is then 2.

    Example: `minorkey predict runs/soma photos/ --out labelled`
    """
    from minorkey.prediction import predict_folder

    done = predict_folder(run, images, out, overwrite=overwrite)
    typer.echo(f"{done.written} images in '{out}', {done.skipped} were there already")
    for problem in done.problems:
        typer.echo(f"minorkey: {problem}", err=True)
    if done.problems:
        raise typer.Exit(2)
