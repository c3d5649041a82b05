"""Where the images lie that a file of all annotations lists."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from minorkey.data.images import IMAGE_SUFFIXES
from minorkey.data.readers.exports.folder import Folder, is_image
from minorkey.data.readers.named import key_named
from minorkey.data.readers.pairing import some
from minorkey.data.readers.pattern import Pattern
from minorkey.errors import DataError

PLACES = ("images/{split}/{key}.*", "{split}/{key}.*", "{split}/images/{key}.*", "images/{key}.*", "{key}.*")
"""Where images lie, in order."""

PROBES = 20
"""Images that are looked for in each of these places."""


def place_of_images(folder: Folder, files: Mapping[str, str], listed: Mapping[str, Sequence[str]]) -> str:
    """The pattern of the images that files list.

    Args:
        folder: that holds both.
        files: split -> the file that lists its images, as errors name it.
        listed: split, as it is called on disk, or "" where there are none -> the images, as the file names them.

    Raises:
        DataError: they are in none of the usual places.
    """
    for place in PLACES:
        if "" in listed and "{split}" in place:
            continue
        if all(_are_there(folder, place, split, images) for split, images in listed.items()):
            return place
    places = [place for place in PLACES if not ("" in listed and "{split}" in place)]
    found = {place: [split for split in listed if _are_there(folder, place, split, listed[split])] for place in places}
    best = max(places, key=lambda place: len(found[place]))
    split = next(split for split in listed if split not in found[best])
    images, said = listed[split], files[split]
    if above := sorted(_folders_of(folder, images)):
        if "" in listed and len(above) == 1:
            return f"{above[0]}/{{key}}.*"
        raise DataError(
            f"{said}: its images lie in {some(above)}, and it names them without; put them into one folder, or write "
            "the folder in front of each name"
        )
    if not images:
        raise DataError(f"{said}: it lists no images; list some, or remove the file")
    raise DataError(
        f"{said}: its image {some(images)} is nowhere below {folder.root}; put the images in images/ beside it"
    )


def _folders_of(folder: Folder, images: Sequence[str]) -> set[str]:
    """The folders that hold images of these names."""
    names = {PurePosixPath(image.replace("\\", "/")).name for image in images[:PROBES]}
    places = map(PurePosixPath, folder.addresses)
    return {place.parent.as_posix() for place in places if place.name in names}


def _are_there(folder: Folder, place: str, split: str, images: Sequence[str]) -> bool:
    pattern = Pattern(place, IMAGE_SUFFIXES, {"split": split})
    keys = {fields["key"] for name in folder.addresses if is_image(name) and (fields := pattern.match(name))}
    return any(key_named(image, keys) for image in images[:PROBES])
