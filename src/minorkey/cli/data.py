"""`minorkey data`."""

from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

import typer

from minorkey.cli.verb import verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minorkey.data.records import Record

SETTINGS = "E.g. `data_root=/data`, `label_space=street7`, `data_cache=/ssd/pixels`."
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help=SETTINGS)]
Workers = Annotated[int, typer.Option(min=0, max=1024, help="Processes that read.")]

data = typer.Typer(help="Look into data sets.", no_args_is_help=True)


@data.callback()
def _data() -> None:
    """Look into data sets."""


@data.command()
@verb
def check(
    target: str = typer.Argument(help="A preset or YAML file, a run folder, or a data set such as `camvid:val`."),
    overrides: Overrides = None,
    images: int | None = typer.Option(None, min=1, help="Look at so many of each data set, evenly spread."),
    workers: Workers = 2,
    out: Path | None = typer.Option(None, help="Folder for check.json and check.html, a page with pictures."),
) -> None:
    """Say what is in the data, and what is wrong with it, before anything is trained.

    Every image and label file is read: how many there are, their sizes, which files are broken, do not fit together or
    hold ids that no map names, and how often each class occurs in each domain. The exit code is 2 where something
    would stop a training, else 0. Of a folder, it is said what tool it was taken to be from, and how to train on it;
    its task is that of its labels. With MINORKEY_CACHE set to a folder, what was counted is kept there.

    Examples:

    * `minorkey data check gta_to_cbm data_root=/data --images 200`

    * `minorkey data check mydata --out mydata-check`

    * `minorkey data check roboflow-export` (COCO, YOLO, Pascal VOC, CVAT, Labelme, masks)

    * `minorkey data check bdd100k:val task=detection` (boxes)

    * `minorkey data check runs/soma`
    """
    from minorkey.config import parse_overrides
    from minorkey.datacheck import check as check_data
    from minorkey.datacheck.page import check_folder, write_check
    from minorkey.datacheck.tables import class_table, data_table, own_table, problem_lines, verdict
    from minorkey.system.console import PlainConsole

    given = parse_overrides(overrides or [])
    if out is not None:
        check_folder(out)
    checked, opened = check_data(target, given, images=images, workers=workers, progress=_progress)
    console = PlainConsole()  # `camvid:train:` is no tram
    for line in checked.taken:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if checked.data:
        console.print(data_table(checked))
        console.print(class_table(checked))
    if any(each.own for each in checked.data):
        console.print(own_table(checked))
    for kind, lines in (("warning", checked.warnings), ("problem", problem_lines(checked))):
        for line in lines:
            console.print(f"{kind}: {line}", highlight=False, soft_wrap=True, markup=False)
    console.print(verdict(checked), highlight=False, style="red" if checked.all_problems else "green")
    if checked.command:
        console.print(f"train on it: {checked.command}", highlight=False, soft_wrap=True, markup=False)
    if out is not None:
        typer.echo(f"page: {write_check(checked, opened, out)}")
    raise typer.Exit(2 if checked.all_problems else 0)


@data.command()
@verb
def init(
    folder: Path = typer.Argument(help="Folder of a data set without a dataset.yaml."),
    out: Path | None = typer.Option(None, metavar="FILE", help="Where to write; default FOLDER/dataset.yaml."),
    task: str | None = typer.Option(None, help="Whose labels to look for, if the folder has several kinds."),
    images: int | None = typer.Option(None, min=1, help="Look at so many label images for their classes."),
) -> None:
    """Write the dataset.yaml that a folder needs, as far as its files tell, to be edited.

    Looked for are exports of labelling tools, label images (by ids or painted), boxes (COCO, Pascal VOC, YOLO, KITTI)
    and class folders; which folders are splits; and which classes occur, named class_0, class_1 ... where nothing names
    them. A file that is there already is never replaced.

    Examples:

    * `minorkey data init farm`

    * `minorkey data init farm --task detection --out farm-boxes.yaml`
    """
    from minorkey.datacheck.guess import init_dataset
    from minorkey.errors import printable
    from minorkey.tasks.table import task_settings

    guess, file = init_dataset(folder, out, task=task, images=images, progress=_shown)
    typer.echo(printable(f"{folder} has {guess.what}: see {file}, and give its classes their names"))
    if out is None:
        check = join(["minorkey", "data", "check", str(folder), *task_settings(guess.task)])
        typer.echo(printable(f"next: {check}"))


@data.command()
@verb
def cache(
    target: str = typer.Argument(help="A preset or YAML file, a run folder, or a data set such as `gta5:train`."),
    overrides: Overrides = None,
    workers: Workers = 2,
) -> None:
    """Decode what is trained on, once, and keep its pixels in the folder `data_cache`.

    A training with this `data_cache` does so itself as it first reads an image; this does it ahead. Its batches are the
    same with and without. How large the folder gets is said first, and refused if the disk has less. What is there
    already is not decoded again, so that the command goes on where it was stopped, and several may run at once. Delete
    the folder when it is not needed any more. The exit code is 2 where an image cannot be read, else 0.

    Examples:

    * `minorkey data cache gta_to_cbm data_root=/data data_cache=/ssd/pixels --workers 8`

    * `minorkey data cache mydata:train data_cache=mydata-pixels`
    """
    from minorkey.config import parse_overrides
    from minorkey.data.cache_size import in_bytes, reserve
    from minorkey.data.records import read_records
    from minorkey.datacheck.targets import open_target
    from minorkey.errors import DataError, printable

    found = open_target(target, parse_overrides(overrides or []), cached=True)
    readers = [opened.reader for opened in found.opened if opened.use in ("data set", "trained on", "adapted to")]
    if found.cache is None or found.problems or not readers:
        raise DataError("; ".join(found.problems) or f"{target} trains on nothing")
    needed = reserve([(found.cache, reader) for reader in readers])
    if not any(found.cache.folder.iterdir()):
        raise DataError(f"{target} is not read from image files, and has nothing to keep; train without data_cache")
    typer.echo(f"{found.cache.folder}: about {in_bytes(needed)} to be written for {sum(map(len, readers))} images")
    problems = 0
    for reader in readers:
        records = read_records(reader, found.space, task=found.task, workers=workers)
        for record in _progress(records, reader.name, len(reader)):
            if record.problem:
                problems += 1
                typer.echo(printable(f"{reader.name}: {record.problem}"))
    typer.echo(f"{sum(map(len, readers)) - problems} images are kept")
    raise typer.Exit(2 if problems else 0)


def _shown(names: "Iterable[str]", count: int) -> "Iterable[str]":
    from rich.progress import track

    from minorkey.system.console import PlainConsole

    return track(names, description="label images", total=count, console=PlainConsole(stderr=True), transient=True)


def _progress(records: "Iterable[Record]", name: str, count: int) -> "Iterable[Record]":
    from rich.markup import escape
    from rich.progress import track

    from minorkey.errors import printable
    from minorkey.system.console import PlainConsole

    return track(
        records, description=escape(printable(name)), total=count, console=PlainConsole(stderr=True), transient=True
    )
