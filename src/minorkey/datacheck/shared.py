"""Images that two data sets share, or seem to: what is judged on images that were trained on says little."""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from minorkey.data.readers import Reader
from minorkey.data.readers.joined import image_files
from minorkey.errors import MinorkeyError
from minorkey.system.regular import regular_bytes

MOST = 1000
"""Files that are hashed; those of which no other has the size are not."""

MADE_OF = re.compile(r"\.rf\.[0-9A-Za-z]+$")
"""What Roboflow puts behind the name of an image, a digest of what it made of it."""


def shared_content(readers: Sequence[Reader]) -> list[str]:
    """A line for each data set that shares images with one before it: files of the same content, or of the same name.

    Files in archives are not looked at, and no more than `MOST` of those whose size another has.
    """
    lines, budget = [], MOST
    for later, earlier in ((one, two) for place, one in enumerate(readers) for two in readers[:place]):
        if later.name == earlier.name:
            continue
        both, budget = _same_content(_files(earlier), _files(later), budget)
        if both:
            first, second = both[0]
            lines.append(
                f"{len(both)} images of {later.name} are those of {earlier.name} by their content, e.g. {second} and "
                f"{first}: scores on what is trained on say little"
            )
        elif named := _same_names(earlier, later):
            lines.append(
                f"{len(named)} images of {later.name} are called as images of {earlier.name}, e.g. {named[0]}: look "
                "whether they show the same"
            )
    return lines


def _files(reader: Reader) -> list[Path]:
    return list(map(Path, image_files(reader)))


def _same_content(one: Sequence[Path], other: Sequence[Path], budget: int) -> tuple[list[tuple[Path, Path]], int]:
    """Pairs of files with one content, and how many more may be hashed."""
    by_size: dict[int, list[Path]] = {}
    for file, size in _sizes(one):
        by_size.setdefault(size, []).append(file)
    found, known = [], dict[int, dict[bytes, Path]]()
    for file, size in _sizes(other):
        if size not in by_size:
            continue
        if size not in known:
            budget -= len(by_size[size])
            known[size] = {_digest(file): file for file in by_size[size]} if budget > 0 else {}
        budget -= 1
        if budget > 0 and (same := known[size].get(_digest(file), file)) != file:
            found.append((same, file))
    return found, budget


def _sizes(files: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    for file in files:
        try:
            yield file, file.stat().st_size
        except OSError:  # in an archive, or missing: whoever reads it says so
            continue


def _digest(file: Path) -> bytes:
    try:
        return blake2b(regular_bytes(file), digest_size=16).digest()
    except (OSError, MinorkeyError):
        return b""


def _same_names(one: Reader, other: Reader) -> list[str]:
    """Names that images of both have, or had before Roboflow made several of one; numbers alone are given to any."""
    return sorted(name for name in _names(one) & _names(other) if not name.isdecimal())


def _names(reader: Reader) -> set[str]:
    return {MADE_OF.sub("", Path(reader.key(index)).name) for index in range(len(reader))}
