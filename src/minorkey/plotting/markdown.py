"""Names from data in Markdown, where they would otherwise be links, HTML or cells of a table."""

import re

from minorkey.errors import printable

SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<!\w)_|_(?!\w)|:(?=//)")
"""What Markdown, as it is read on the hub, gives a meaning to within a line."""


def in_markdown(text: str) -> str:
    r"""A text that Markdown shows as it is, on one line.

    >>> print(in_markdown("[car](x) <b>|</b>"), in_markdown("traffic light"))
    \[car\](x) \<b\>\|\</b\> traffic light
    """
    return SPECIAL.sub(r"\\\g<0>", one_line(text))


def code_block(text: str, language: str) -> str:
    """Lines of code, which end with a break, between fences that are longer than any in them."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}{fence}"


def one_line(text: str) -> str:
    """A text without breaks and control characters."""
    return printable(" ".join(text.split()))


def as_code(text: str) -> str:
    """A text between backticks, as many as it takes, on one line.

    >>> as_code("a`b")
    '`` a`b ``'
    """
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`"
