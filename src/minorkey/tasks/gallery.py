"""Evaluated images side by side on a page: the image, the truth, and what each run predicted and got wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup

from minorkey.plotting.page_template import page_template
from minorkey.tasks.pictures import photo, read_picture

Read = TypeVar("Read")
Label = tuple[str, str]
"""Name and colour of a run."""


@dataclass(frozen=True)
class Kept:
    """An evaluated image, and where it is kept."""

    domain: str
    key: str
    folders: Sequence[Path | None]  # what `Task.keep` wrote, a folder for each run; None: it did not keep this image

    @property
    def any(self) -> Path:
        """The folder of some run, for what does not depend on it: the image and its truth."""
        return next(folder for folder in self.folders if folder is not None)

    def of_each(self, read: Callable[[Path], Read]) -> list[Read | None]:
        """What is read from the folder of each run that kept it."""
        return [None if folder is None else read(folder) for folder in self.folders]


@dataclass(frozen=True)
class GalleryWords:
    """What stands around the scenes of a task."""

    errors: str | None = None  # name of the view that shows what is wrong; None: there is one view only
    footnote: str = ""
    wide: bool = False  # pictures stand two by two, in place of one row for a scene
    unlabelled: bool = False  # black means: not labelled
    wipe: bool = False  # predictions lie on the image, so that one can be wiped over another
    marks: Markup | None = None  # a legend of its own


@dataclass(frozen=True)
class Shown:
    """What one run made of a scene."""

    picture: str  # data URI
    errors: str | None = None  # the same with what is wrong in it
    text: str = ""  # below it


@dataclass(frozen=True)
class Scene:
    """One image with the predictions of all runs, `None` where a run did not keep it; pictures are data URIs."""

    domain: str
    key: str
    image: str
    truth: str | None  # None: it is no picture
    predictions: Sequence[Shown | None]
    text: str = ""  # the truth in words

    def html(self, runs: Sequence[Label], place: str) -> Markup:
        """The scene as it stands on the page.

        Args:
            runs: name and colour of each.
            place: a name that no other scene of the page has.
        """
        return Markup(page_template("scene.html.j2").module.scene(self, runs))  # type: ignore[attr-defined]


def plain_scene(kept: Kept) -> Scene:
    """The pictures that `Task.keep` writes unless a task does otherwise.

    Raises:
        DataError: one cannot be read.
    """
    image = photo(read_picture(kept.any / "image.png", "RGB"))
    pictures = kept.of_each(lambda folder: Shown(photo(read_picture(folder / "prediction.png", "RGB"))))
    return Scene(kept.domain, kept.key, image, None, pictures)
