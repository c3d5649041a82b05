"""The errors a user can meet: one clear line each, saying what came, what was expected and what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves the cursor, colours or turns text round on a terminal, breaks a line, or is half a character."""


class MinorkeyError(Exception):
    """Base of every error that a user can mend; the command line prints it and exits with its code."""

    exit_code = 2
    alone = False
    """Of the processes that work on one run, this one alone met it."""

    def __str__(self) -> str:
        """One line, whatever the names in it."""
        return printable(super().__str__())


class ConfigError(MinorkeyError):
    """A preset, key, value or name in the configuration is not valid."""


class DataError(MinorkeyError):
    """An image, label file or data folder is missing, unreadable or inconsistent."""


class ImageSizeError(DataError):
    """An image is too small or too large for the network that is to look at it."""


class ModelError(MinorkeyError):
    """A backbone or head cannot be found, loaded or built."""


class AdapterError(MinorkeyError):
    """An adapter does not fit the network or the weights it is asked to adapt."""


class TrainingError(MinorkeyError):
    """Training cannot go on; the last good checkpoint is kept."""


class StorageError(MinorkeyError):
    """A file cannot be written or read back."""


class OutsideError(MinorkeyError):
    """A part that is not of this package cannot be imported, is not what it should be, or failed."""


class MemoryLimitError(MinorkeyError):
    """What was asked for does not fit into memory."""


class InternalError(MinorkeyError):
    """A fault of this package, which a user cannot mend."""

    exit_code = 1


def printable(text: str) -> str:
    r"""A text for a terminal, in which names from data do nothing: control characters are written as escapes.

    >>> print(printable("a\x1b[31mb\nc"))
    a\x1b[31mb\nc
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """One line for a name that is not in a table: the closest names first, then all of them.

    >>> unknown("method", "somma", ["soma", "lora"])
    "unknown method 'somma'; did you mean 'soma'? Known: lora, soma"
    """
    known = sorted(choices)
    return f"unknown {kind} '{name}'{closest(name, known) or '.'} Known: {', '.join(known)}"


def closest(name: str, choices: Iterable[str]) -> str:
    """The end of a message: `; did you mean 'soma'?`, or nothing where no name is close."""
    close = get_close_matches(name, sorted(choices), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
