"""Images without anything else: a folder of photographs, the frames of a video, or what matches a glob."""

from pathlib import Path

import numpy as np

from minorkey.data.deep_images import image_suffixes, read_pixels
from minorkey.data.images import list_images, unread
from minorkey.data.pixels import DEFAULT, PixelOptions
from minorkey.data.raw_cache import RawCache, file_stamp
from minorkey.data.readers.on_disk import kind_of_pixels
from minorkey.data.sample import Sample
from minorkey.errors import DataError
from minorkey.system.regular import regular_bytes


class ImageReader:
    """All images at a path as the unlabelled samples of one domain, sorted by name."""

    def __init__(self, where: str, cache: RawCache | None = None, pixels: PixelOptions = DEFAULT) -> None:
        """List the images.

        Args:
            where: a folder, with all that is below it, a glob or a file; hidden files are passed over.
            cache: keeps their pixels.
            pixels: what their values mean.

        Raises:
            DataError: there are no images, or two of them have one name but for the suffix.
        """
        path, self._cache, self.pixels = Path(where), cache, pixels
        self._files = list_images(where, image_suffixes(pixels))
        root = path if path.is_dir() else fixed_part(path)
        self._keys = [file.relative_to(root).with_suffix("").as_posix() for file in self._files]
        # Sorted by name, files of one key need not be neighbours: `a.jpg`, `a.jpg.1.png`, `a.png`.
        places: dict[str, Path] = {}
        for key, file in zip(self._keys, self._files, strict=True):
            if (other := places.setdefault(key, file)) != file:
                raise DataError(f"{other} and {file.name} share the name '{key}'; keep one of them, or give a glob")
        self.name, self.domain = where, root.resolve().name
        self.notes = (*_folders(self._keys), *unread(where))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def key(self, index: int) -> str:
        """The path below the folder, or below the part of a glob without wildcards, without suffix."""
        return self._keys[index]

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            DataError: it is unreadable or truncated.
        """
        image = self._image(self._files[index])
        return Sample(image, self.domain, self._keys[index], shown=self.pixels.places)

    def _image(self, file: Path) -> np.ndarray:
        stamp = None if self._cache is None else file_stamp(file)
        if self._cache is None or stamp is None:
            return read_pixels(file, pixels=self.pixels)
        kind = kind_of_pixels(self.pixels)
        return self._cache.pixels(
            kind, stamp, lambda: _content(file), lambda content: read_pixels(file, content, self.pixels)
        )

    def file(self, index: int) -> tuple[str, bytes]:
        """The file of an image as errors name it, and its content.

        Raises:
            DataError: it is missing or cannot be read.
        """
        return str(self._files[index]), _content(self._files[index])


def _content(file: Path) -> bytes:
    try:
        return regular_bytes(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error


def fixed_part(path: Path) -> Path:
    """The folder that holds every match of a glob."""
    return next(folder for folder in path.parents if not any(mark in str(folder) for mark in "*?["))


def _folders(keys: list[str]) -> tuple[str, ...]:
    """A line where images come from several folders, for a folder of label images may be among them."""
    folders = sorted({str(Path(key).parent) for key in keys})
    if len(folders) == 1:
        return ()
    more = f" and {len(folders) - 3} more" if len(folders) > 3 else ""
    return (f"images of {len(folders)} folders are taken: {', '.join(folders[:3])}{more}",)
