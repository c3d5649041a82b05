"""PyAV, which binds FFmpeg, where it is installed; and what is taken for a clip or a stream."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minorkey.errors import ConfigError, DataError

CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"}
    | {".3gp"}
)

STREAM = re.compile(r"(rtsps?|rtmps?|https?|udp|rtp|srt|tcp)://.|/dev/video\d+$")
"""What is opened over the network, or as a camera of this machine, when it is named and only then."""

TO_DO = "copy it again from where it is whole, or leave it out"
LIVE_TO_DO = "check the address, and whether it can be reached from here"


def pyav() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError("video needs the package PyAV: pip install 'minorkey[video]'") from error
    return av


def is_clip(file: Path) -> bool:
    """Whether a file is taken for a clip: by its suffix."""
    return file.suffix.lower() in CLIP_SUFFIXES


def is_stream(source: str | Path) -> bool:
    """Whether this names a stream or a camera rather than a file."""
    return STREAM.match(str(source)) is not None


def title(source: str | Path) -> str:
    """A source as errors and records name it: an address without what may be secret in it, its user and its query."""
    text = str(source)
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def clip_faults(where: str, what: str, to_do: str = TO_DO) -> Iterator[None]:
    """Turn whatever the library raises of broken content into one line.

    Raises:
        DataError: `where: what (reason); to_do`.
    """
    try:
        yield
    except (OSError, ValueError, pyav().FFmpegError) as error:
        silent = isinstance(error, pyav().error.ExitError)
        reason = "nothing came in time" if silent else getattr(error, "strerror", None) or str(error)
        raise DataError(f"{where}: {what} ({reason}); {to_do}") from error
