"""`minorkey predict`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from minorkey.errors import printable

if TYPE_CHECKING:
    from minorkey.runs.predict import Done


def predict(
    run: Path = typer.Argument(help="Folder of a finished run, or an ONNX file that was exported of one."),
    images: str = typer.Argument(help="An image or clip, a folder of them, a quoted glob; a stream, a camera."),
    out: Path = typer.Option(Path("predictions"), help="Folder for overlays and what was predicted."),
    overwrite: bool = typer.Option(False, help="Predict again what is there already; replace it, whatever it is."),
    overlays: bool = typer.Option(True, help="Also draw what was predicted on the image, as JPEG."),
    every: int = typer.Option(1, min=1, help="Of clips: only each N-th frame.", metavar="N"),
    start: float = typer.Option(0.0, min=0.0, help="Of clips: from this second on."),
    end: float | None = typer.Option(None, help="Of clips: until this second."),
    frames: bool = typer.Option(False, "--frames", help="Of clips: also a file for each frame, as an image has."),
    shard: str = typer.Option("1/1", metavar="I/N", help="Only the I-th of N parts, for job arrays."),
) -> None:
    """Predict images: an overlay to look at (JPEG) and an id map (8-bit PNG of class numbers) for each.

    A detector writes boxes in place of the id map, and predictions.json, a COCO results file in which an image's
    id is its file's name; a classifier a table, predictions.csv. predictions.html shows the overlays, and classes.json
    says which number is which class. Images done before, by the same model, are skipped, so an interrupted run goes on;
    what is there of another model, or of somebody's own, is refused. An image that is broken, or too large or
    small for the network, is named and skipped, and the exit code is then 2.

    Of a clip (`minorkey[video]`): a video with overlays (MP4), and clips/NAME.jsonl, a line for each frame. A stream
    (rtsp://, http://, /dev/video0) is predicted until it ends or Ctrl-C.

    Examples:

    * `minorkey predict runs/soma photos/ --out labelled`

    * `minorkey predict runs/soma drive.mp4 --every 3 --out labelled`

    * `torchrun --nproc_per_node 8 -m minorkey predict runs/soma photos/ --out labelled`
    """
    from minorkey.data.video.frames import Sampling
    from minorkey.runs.predict import parse_shard, predict_folder
    from minorkey.system.processes import from_main

    done = predict_folder(
        run,
        images,
        out,
        overwrite=overwrite,
        overlays=overlays,
        shard=parse_shard(shard),
        sampling=Sampling(every, start, end),
        frames=frames,
    )
    from_main(lambda: _tell(done, run, Path(images), out))
    if done.problems:
        raise typer.Exit(2)


def _tell(done: "Done", run: Path, images: Path, out: Path) -> None:
    from minorkey.cli.show import show_next
    from minorkey.reporting.next_steps import after_predicting

    clips = f" and {done.clips} clip{'s' if done.clips > 1 else ''}" if done.clips else ""
    typer.echo(f"{done.written} images{clips} in '{out}', {done.skipped} were there already")
    for problem in done.problems:
        typer.echo(printable(f"minorkey: {problem}"), err=True)
    if not done.problems:
        show_next(after_predicting(run, images))
