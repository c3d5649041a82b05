"""Classified images: class folders, or a table."""

from minorkey.data.readers.categories.bare import USUAL_TABLE, bare_spec
from minorkey.data.readers.files import Files
from minorkey.datacheck.guess.guess import TOP, Guess, line
from minorkey.datacheck.guess.names import are_pairs
from minorkey.errors import DataError


def guess_folders(files: Files) -> Guess | None:
    """The layout of the folder as it is read without a `dataset.yaml`, too; None: it is none.

    Raises:
        DataError: its table cannot be read.
    """
    if not (files.root / USUAL_TABLE).is_file():
        try:
            spec = bare_spec(files.root)
        except DataError:
            return None
    else:
        spec = bare_spec(files.root)
    if not spec.table and are_pairs(entry.name for entry in files.root.iterdir()):
        return None
    what = f"classified images, listed in {spec.table}" if spec.table else "class folders"
    text = TOP + (line("table", spec.table) if spec.table else line("images", spec.images))
    if not spec.table:
        text += line("splits", spec.splits) if spec.splits else ""
        text += line("domains", list(spec.domains)) if spec.domains else ""
        text += "# The classes are those of the folders.\n"
    text += "# read_as: {FOLDER: CLASS}  # to give a class another name\n# ignores: [CLASS]  # to leave one out\n"
    return Guess("classification", what, text)
