"""A small language for file names: `leftImg8bit/{split}/{key}_leftImg8bit.png`.

`{split}`, `{domain}` and `{category}` (the class of an image) are one folder or part of a name; `{key}` names the
sample and may span folders; `{variant}` tells apart several images that share labels; `*` is any part of a name, `.*`
at the end any suffix. Suffixes are matched in upper and lower case, names in one form of Unicode (`text.composed`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from minorkey.data.readers.text import composed

FIELDS = {"split": "[^/]+", "domain": "[^/]+", "category": "[^/]+", "key": ".+?", "variant": "[^/]+?"}
SUFFIX = re.compile(r"\.\w+$", re.ASCII)
TOKEN = re.compile(r"\{(\w*)\}|(\.\*$)|(\*)")


@dataclass(frozen=True)
class Pattern:
    """A pattern with some of its fields known."""

    text: str
    suffixes: frozenset[str]  # what `.*` stands for
    known: Mapping[str, str]  # field -> its text

    @property
    def folder(self) -> str:
        """The folder that holds every match; `*` in it stands for any characters within a name."""
        parts = self._filled.split("/")[:-1]
        fixed = next((index for index, part in enumerate(parts) if "{" in part), len(parts))
        return "/".join(parts[:fixed])

    def match(self, name: str) -> dict[str, str] | None:
        """The fields of a relative file name, None where it is not of this form."""
        found = self._expression.fullmatch(composed(name))
        return found.groupdict() if found else None

    def example(self, key: str) -> str:
        """The name of the file for a key, as errors show it."""
        return self._filled.replace("{key}", key).replace("{variant}", "*")

    @property
    def _filled(self) -> str:
        """The text with what is known of split and domain, `*` where nothing is."""
        return re.sub(r"\{(split|domain)\}", lambda field: self.known.get(field[1], "*"), self.text)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        expression, end, seen = "", 0, set[str]()
        for token in TOKEN.finditer(self.text):
            expression += re.escape(composed(self.text[end : token.start()])) + self._part(token, seen)
            end = token.end()
        name = composed(self.text[end:])
        suffix = SUFFIX.search(name)
        fixed = name[: suffix.start()] if suffix else name
        return re.compile(f"{expression}{re.escape(fixed)}(?i:{re.escape(suffix[0] if suffix else '')})")

    def _part(self, token: re.Match[str], seen: set[str]) -> str:
        field, suffix, _ = token.groups()
        if field is None:
            return f"(?i:{'|'.join(map(re.escape, sorted(self.suffixes)))})" if suffix else "[^/]*"
        if field in seen:
            return f"(?P={field})"
        seen.add(field)
        return f"(?P<{field}>{re.escape(composed(self.known[field])) if field in self.known else FIELDS[field]})"


def wrong_fields(text: str, needed: Iterable[str]) -> str | None:
    """What is wrong with a pattern that a user wrote: an unknown or missing field; None if nothing is."""
    fields = {token[1] for token in TOKEN.finditer(text) if token[1] is not None}
    if unknown := sorted(fields - FIELDS.keys()):
        return f"'{text}' has a field {{{unknown[0]}}}; the fields are {', '.join(f'{{{name}}}' for name in FIELDS)}"
    if missing := sorted(set(needed) - fields):
        return f"'{text}' has no field {{{missing[0]}}}"
    return None
