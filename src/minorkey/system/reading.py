"""Bytes from outside become values here, and whatever is wrong with them is one error that names file and place.

The functions that take content raise `ValueError` with the place in it; `reading` makes of that, and of whatever else
broken values raise, the error of the file. They hold for any input: depth, sizes and repetition are bounded.
"""

import codecs
import json
import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import yaml
from pydantic import ValidationError
from safetensors import SafetensorError
from yaml.composer import Composer, ComposerError
from yaml.constructor import ConstructorError

from minorkey.errors import DataError, MinorkeyError
from minorkey.system.regular import regular_bytes

FAULTS = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(OSError, RuntimeError, MemoryError, SafetensorError),
)
"""What a broken file can raise in code that takes its values for sound."""

LARGEST = 2**30
"""Bytes of a text file; the JSON of the largest data set of boxes has half of that."""
LARGEST_YAML = 2**24
DEPTH = 50
"""Of nested YAML. Ours has 5."""
VALUES = 200_000
"""In a YAML file, those that aliases repeat counted each time."""
INTEGERS = 2**63
"""Integers are below it, as arrays hold them."""

STRANGE = re.compile(r"\\u(0000|d[89a-f])", re.IGNORECASE)
"""A JSON escape of what may be no text: NUL, or half of a pair of surrogates."""


MERGE, TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
"""Kinds of YAML values."""


@contextmanager
def reading(
    where: object, to_do: str = "replace the file", error: type[MinorkeyError] = DataError, what: str = "cannot read "
) -> Iterator[None]:
    """Turn whatever broken content raises into one line: what is broken where, why, and what to do."""
    try:
        yield
    except MinorkeyError:
        raise
    except FAULTS as fault:
        raise error(f"{what}{where}: {words(fault)}; {to_do}") from fault


def words(fault: BaseException) -> str:
    """What was wrong, in one line without the terms of Python."""
    if isinstance(fault, ValidationError):
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else first["msg"]
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    if isinstance(fault, MemoryError):
        return "it does not fit into memory"
    if isinstance(fault, UnicodeDecodeError):
        return f"byte {fault.start} is no {fault.encoding} text"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    if isinstance(fault, KeyError):
        return f"{shown(fault.args[0])} is missing" if fault.args else "a key is missing"
    if isinstance(fault, (TypeError, AttributeError)):
        return f"a value is of another kind ({_first_line(fault)})"
    return _first_line(fault)


def shown(value: object) -> str:
    """A value in an error: short, on one line and without control characters, whatever it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    return short.repr(value)


def text_of(content: bytes, largest: int = LARGEST) -> str:
    """UTF-8 text, with or without its mark at the beginning.

    Raises:
        ValueError: it is none, holds NUL, or is too large.
    """
    if len(content) > largest:
        raise ValueError(f"it has {len(content)} bytes, at most {largest} are read")
    text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    if "\0" in text:
        raise ValueError(f"line {text.count(chr(10), 0, text.index(chr(0))) + 1} holds NUL; it is no text")
    return text


def json_of(content: bytes | str, *, finite: bool = True) -> Any:
    """What JSON says; a key that stands twice, what is no text and, if `finite`, NaN and infinity are refused.

    Raises:
        ValueError: it is broken; where.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    if not text.strip():
        raise ValueError("it is empty")
    try:
        value = json.loads(text, parse_constant=_no_number if finite else None, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if STRANGE.search(text):
        _refuse_strange(value)
    return value


def read_json(
    path: Path, to_do: str = "replace the file", *, kind: type = dict, error: type[MinorkeyError] = DataError
) -> Any:
    """What a JSON file says, which must be a `kind`.

    Raises:
        MinorkeyError: of the given type: it is missing, broken or of another kind.
    """
    with reading(f"'{path}'", to_do, error):
        value = json_of(regular_bytes(path))
        if not isinstance(value, kind):
            raise ValueError(f"it holds {shown(value)}, expected a {'mapping' if kind is dict else kind.__name__}")
        return value


def json_lines(content: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The records of a file with one on each line, and whether the last line is torn, as a killed process leaves it.

    Raises:
        ValueError: a line before is none; which.
    """
    lines = content.split(b"\n")
    torn = bool(lines.pop())
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json_of(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {words(error)}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is {shown(record)}, expected a record {{...}}")
        records.append(record)
    return records, torn


def yaml_of(content: bytes | str) -> Any:
    """What YAML says; deep nesting, aliases that grow, and a key that stands twice are refused.

    Raises:
        ValueError: it is broken; at which line.
    """
    text = content if isinstance(content, str) else text_of(content, LARGEST_YAML)
    try:
        return _SafeLoader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {min(mark.line, text.count(chr(10))) + 1}" if mark else ""  # libyaml ends behind the text
        raise ValueError(f"not valid YAML{line}: {getattr(error, 'problem', None) or _first_line(error)}") from error
    except RecursionError as error:
        raise ValueError("not valid YAML: it is nested too deeply") from error


def xml_of(content: bytes) -> ElementTree.Element:
    """The root of an XML document without entities of its own, which could grow without bound or name other files.

    Raises:
        ValueError: it is broken; at which line.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, _no_entity
    try:
        parser.Parse(content, True)
        return builder.close()
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    except LookupError as error:
        raise ValueError("its encoding is unknown") from error


def _first_line(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:300]


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _no_entity(name: str, *rest: object) -> NoReturn:
    raise ValueError(f"it declares the entity {shown(name)}; entities are not read")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {shown(twice)} stands twice in one object")
    return found


def _refuse_strange(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a text in it holds NUL or half a character")


_Scanner: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""What scans the text, libyaml in a sixth of the time; nodes are composed here, where they are counted."""
_Composer: Any = type("_Composer", (yaml.SafeLoader,) if _Scanner is yaml.SafeLoader else (Composer, _Scanner), {})


class _SafeLoader(_Composer):
    """A `SafeLoader` that stays small on any input, and says the line of every value that it cannot make sense of."""

    def __init__(self, text: str) -> None:
        _Scanner.__init__(self, text)
        Composer.__init__(self)
        self._depth = self._values = 0
        self._sizes: dict[int, int] = {}  # values in a node, by its id
        self._escapes = "\\" in text

    def compose_node(self, parent: Any, index: Any) -> Any:
        event, before = self.peek_event(), self._values
        mark: Any = event.start_mark
        self._depth += 1
        if self._depth > DEPTH:
            raise ComposerError(None, None, f"it is nested more than {DEPTH} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if type(event) is not yaml.AliasEvent:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        elif id(node) in self._sizes:
            self._values += self._sizes[id(node)]
        else:
            raise ComposerError(None, None, "an alias stands within what it stands for", mark)
        if self._values > VALUES:
            raise ComposerError(None, None, f"more than {VALUES} values, as aliases repeat them", mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if type(key) is yaml.ScalarNode and key.tag != MERGE]
        if len({key.value for key in keys}) < len(keys) or any(key.tag != TEXT for key in keys):
            self._refuse_twice(keys)
        return node

    def _refuse_twice(self, keys: list[Any]) -> None:
        seen = set()
        for key in keys:
            value = self.construct_object(key, deep=True)
            if value in seen:
                raise ComposerError(None, None, f"key {shown(value)} stands twice", key.start_mark)
            seen.add(value)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if type(node) is yaml.ScalarNode and node.tag == TEXT and not self._escapes:
            return node.value
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"{shown(node.value)} is no {kind}", node.start_mark) from error
        if reason := _not_held(value):
            raise ConstructorError(None, None, f"{shown(node.value)} {reason}", node.start_mark)
        return value


def _not_held(value: Any) -> str:
    """Why a value of YAML is not taken; empty: it is."""
    if isinstance(value, str):
        strange = any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
        return "holds NUL or half a character" if strange else ""
    if isinstance(value, int) and abs(value) >= INTEGERS:
        return "is too large for an integer"
    if isinstance(value, float) and not abs(value) < float("inf"):
        return "is no finite number"
    return ""
