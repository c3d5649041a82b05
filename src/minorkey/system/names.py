"""Names that come from data (domains, keys, class folders, members of archives) as parts of paths.

What is written under such a name stays below the folder that it is written to: every place that joins a name from data
to a folder does so by `below`. What is read under one stays below the folder of the data set: `leads_out` says where it
would not.
"""

import os
import re
from hashlib import blake2b
from pathlib import Path

LONGEST_PART = 180
"""Bytes of a part; file systems take 255, and a suffix and the name of a file that is being written come on top."""

LONGEST = 1000
"""Bytes of all parts together; systems take 4096 with the folders above."""

UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|^[A-Za-z]:|[\ud800-\udfff]")
"""Control characters, the separator and the drives of Windows, and halves of characters, which no file can have."""


def below(folder: Path, *names: str) -> Path:
    """The place of names from data below a folder, whatever they are; a slash in one makes sub-folders.

    Names that are safe are taken as they are; others are changed and end in a digest, so that two stay two.

    >>> str(below(Path("out"), "fog", "a/b")), str(below(Path("out"), "../fog", "/a"))
    ('out/fog/a/b', 'out/_-e6fc5bb9/fog/_-1271cf25/a')
    """
    return folder.joinpath(*(part for name in names for part in _parts(name)))


def leads_out(name: str) -> bool:
    """Whether a relative name or pattern from data would be looked for outside the folder that it is relative to.

    >>> [leads_out(name) for name in ("images/{key}.png", "../{key}.png", "/etc/{key}", "C:/{key}", "a\\\\..\\\\b")]
    [False, True, True, True, True]
    """
    first, *_ = parts = name.replace("\\", "/").split("/")
    drive = first[1:2] == ":" and (len(first) == 2 or os.name == "nt")
    return ".." in parts or (not first and len(parts) > 1) or drive or "\0" in name


def _parts(name: str) -> list[str]:
    parts = [_part(part) for part in name.split("/")]
    return parts if sum(len(part.encode()) + 1 for part in parts) <= LONGEST else [_marked(parts[-1], name)]


def _part(name: str) -> str:
    """A part of a path that is safe; the same name if it is."""
    changed = UNSAFE.sub("_", name)
    if changed.strip(".") == "":  # nothing, the folder itself, or the one above
        changed = "_"
    if changed == name and len(name.encode()) <= LONGEST_PART:
        return name
    return _marked(changed, name)


def _marked(changed: str, name: str) -> str:
    short = changed.encode()[:LONGEST_PART].decode(errors="ignore")
    return f"{short}-{blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"
