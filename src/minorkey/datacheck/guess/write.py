"""From a folder to its `dataset.yaml`, which is written where there is none."""

import os
from pathlib import Path

from minorkey.data.readers.files import Files
from minorkey.datacheck.guess.boxes import guess_boxes
from minorkey.datacheck.guess.exports import guess_export
from minorkey.datacheck.guess.folders import guess_folders
from minorkey.datacheck.guess.guess import Guess
from minorkey.datacheck.guess.masks import Progress, find_masks, find_smoothed, guess_masks
from minorkey.errors import ConfigError, DataError, unknown
from minorkey.system.storage import write_text

EXPECTED = (
    "expected images and, in folders or with names that are theirs, label images, boxes as COCO, Pascal VOC, YOLO or "
    "KITTI write them, or a folder for each class"
)


def init_dataset(
    folder: Path,
    out: Path | None = None,
    *,
    task: str | None = None,
    images: int | None = None,
    progress: Progress = lambda names, count: names,
) -> tuple[Guess, Path]:
    """Write the `dataset.yaml` that a folder needs, to be edited.

    Args:
        folder: of the data set.
        out: the file; None: `dataset.yaml` in the folder.
        task: whose labels are looked for; None: any, label images first.
        images: how many label images are looked at for their classes, evenly spread; None: all.
        progress: shows how far that is.

    Returns:
        what the folder was taken for, and the file.

    Raises:
        ConfigError: the file is there already, or there is no such task.
        DataError: the folder is none, nothing that is known is in it, or a file is broken.
        StorageError: the file cannot be written.
    """
    file = out or folder / "dataset.yaml"
    if os.path.lexists(file):
        raise ConfigError(f"'{file}' is there already; edit it, or have the guess written elsewhere by --out FILE")
    if not folder.is_dir():
        raise DataError(f"folder {folder} is missing; name the folder of a data set")
    guess = guess_dataset(folder, task=task, images=images, progress=progress)
    write_text(file, guess.text)
    return guess, file


def guess_dataset(folder: Path, *, task: str | None, images: int | None, progress: Progress) -> Guess:
    """What a folder is taken for; the arguments are those of `init_dataset`.

    Raises:
        ConfigError: there is no such task.
        DataError: nothing that is known is in it, or a file is broken.
    """
    files = Files(folder)

    def masks() -> Guess | None:
        if export := guess_export(folder, "pixels", "segmentation"):
            return export
        pairs = find_masks(files)
        return None if pairs is None else guess_masks(files, pairs, images, progress)

    ways = {
        "segmentation": masks,
        "detection": lambda: guess_export(folder, "boxes", "detection") or guess_boxes(files),
        "classification": lambda: guess_folders(files),
    }
    if task is not None and task not in ways:
        raise ConfigError(unknown("task", task, ways))
    for way in [ways[task]] if task else ways.values():
        if (found := way()) is not None:
            return found
    hint = ""
    if smoothed := find_smoothed(files):
        names = f"{smoothed[0]} and {len(smoothed) - 1} more look" if len(smoothed) > 1 else f"{smoothed[0]} looks"
        hint = f"; {names} like labels, but JPEG blurs ids and colours: save them as PNG"
    raise DataError(
        f"{folder} holds no data set{f' for {task}' if task else ''} that is known by its files; {EXPECTED}{hint}"
    )
