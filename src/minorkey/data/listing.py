"""Files below a folder: links are followed, loops are not, and what systems leave beside files is passed over."""

import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/)")
"""`.DS_Store`, the `._a.png` that macOS puts beside `a.png`, and the folder of these in its archives."""


def files_below(top: Path) -> Iterator[str]:
    """The files below a folder by their relative POSIX names, hidden ones passed over.

    Each real folder is listed once: where it lies, else by the first link to it. A link to a folder that holds the link
    itself leads round in a circle and is not followed.
    """
    seen: set[str] = set()
    waiting = deque([top])
    while waiting:
        start = waiting.popleft()
        real = os.path.realpath(start)
        for place, folders, files in os.walk(start):
            here = os.path.normpath(os.path.join(real, os.path.relpath(place, start)))
            if here in seen:
                folders.clear()
                continue
            seen.add(here)
            below = Path(place)
            visible = sorted(name for name in folders if not is_hidden(name + "/"))
            links = [name for name in visible if (below / name).is_symlink()]
            waiting.extend(below / name for name in links if not loops(below / name))
            folders[:] = [name for name in visible if name not in links]
            prefix = "" if below == top else f"{below.relative_to(top).as_posix()}/"
            yield from (prefix + name for name in files if not is_hidden(name))


def loops(link: Path) -> bool:
    """Whether a link to a folder leads to one that holds the link."""
    target, holder = os.path.realpath(link), os.path.realpath(link.parent)
    return holder == target or holder.startswith(target.rstrip(os.sep) + os.sep)


def is_hidden(name: str) -> bool:
    """Whether a relative POSIX name (of a folder: with `/` behind it) is hidden, or lies below what is."""
    return HIDDEN.search(name) is not None
