"""Names and text as they travel between systems: one form of Unicode, with and without a byte order mark."""

import codecs
import unicodedata

from minorkey.errors import DataError

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def composed(name: str) -> str:
    """A name in the form in which names are compared (NFC); macOS and its archives write `ü` as `u` and two dots."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def text_lines(content: bytes, file: str) -> list[str]:
    """The lines of a text file without the blanks around them; empty ones are kept, so that places are line numbers.

    Args:
        content: in UTF-8, or in UTF-16 with its mark.
        file: named in errors.

    Raises:
        DataError: it is in another encoding.
    """
    try:
        return [
            line.strip() for line in content.decode("utf-16" if content[:2] in UTF_16 else "utf-8-sig").splitlines()
        ]
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}: line {line} is not UTF-8; save the file in that encoding") from error
