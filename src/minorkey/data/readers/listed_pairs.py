"""Images and their label images as a table names them, in whatever folders they lie."""

from pathlib import Path

from minorkey.data.readers.files import Files
from minorkey.data.readers.pairing import NoSplit
from minorkey.data.readers.spec import DatasetSpec
from minorkey.data.readers.table import Columns, is_of, named_from, read_table
from minorkey.errors import DataError, unknown

COLUMNS = Columns(
    names=("image", "mask", "domain", "split"),
    needed=2,
    also_called={
        "image": (
            "images",
            "image_path",
            "img",
            "img_path",
            "file",
            "filename",
            "file_name",
            "path",
            "filepath",
            "rgb",
        ),
        "mask": ("masks", "mask_path", "label", "labels", "label_path", "annotation", "segmentation", "target", "gt"),
        "split": ("set", "subset"),
    },
)
"""Of a table of label images."""

Row = tuple[str, str, str | None]
"""Key of an image, address of its file, address of its label image; None: it has none."""


def listed_pairs(files: Files, spec: DatasetSpec, split: str, place: str, *, labelled: bool) -> list[Row]:
    """The images of a split of a domain in the order of their keys.

    Args:
        files: what lies below the root of the data set.
        spec: whose `table` names them.
        split: one of its splits.
        place: one of its domains, "" where it is one itself.
        labelled: whether each is to have a label image.

    Raises:
        NoSplit: there is none of that name.
        DataError: the table cannot be read, names a file that is not there, or an image twice with other labels.
    """
    assert spec.table is not None, "the caller asks for a table"
    if spec.splits and split not in spec.splits:
        raise NoSplit(f"{files.root}: {unknown('split', split, spec.splits)}")
    known = spec.known(split, place)
    table = spec.table.replace("{split}", known["split"])
    if table not in (names := files.names("")):
        raise DataError(f"{files.root / table} is missing; `table` in dataset.yaml names it")
    wanted = {name: value for name, value in known.items() if name != "split" or "{split}" not in spec.table}
    if not spec.splits:
        wanted.pop("split", None)
    found: dict[str, Row] = {}
    for number, row in read_table(files, names[table], COLUMNS):
        if not is_of(row, wanted):
            continue
        where = f"{files.where(names[table])}, line {number}"
        image = _named(row["image"], table, names, files.root, where)
        mask = _named(row["mask"], table, names, files.root, where) if row["mask"] else None
        if mask is None and labelled:
            raise DataError(f"{where}: {row['image']} has no mask; name one, or make a split without labels of it")
        key = image.rpartition(".")[0]
        one = key, names[image], names[mask] if mask else None
        if found.setdefault(key, one) != one:
            raise DataError(f"{where}: '{key}' is there a second time, with another file; keep one of the lines")
    if not found:
        raise DataError(f"{files.where(names[table])} names no image of split '{split}'; fill it")
    return [found[key] for key in sorted(found)]


def _named(place: str, table: str, names: dict[str, str], root: Path, where: str) -> str:
    found = next((name for name in named_from(place, table, root) if name in names), None)
    if found is None:
        raise DataError(f"{where}: {place or 'an image'} is missing; expected a path below the folder of the table")
    return found
