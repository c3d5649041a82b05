"""A grammar of wrong values and of wrong documents: what people and programs write by mistake, and on purpose."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import yaml

DEEP = 4000

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    2**31,
    2**63,
    10**30,
    -(10**9),
    0.5,
    1.0,
    -0.0,
    1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "abc",
    "1",
    "1.0",
    "1e400",
    "0x10",
    "no",
    "~",
    "-",
    ".",
    "..",
    "a:b",
    "a,b",
    "a=b",
    "%s",
    "{split}",
    "Strae\u0308",
    "\u202ecba",
    "\x1b[31mred",
    "a\nb",
    "a\tb",
    "x" * 5000,
    "../x",
    "/",
    "/dev/null",
    "/dev/zero",
    "world",
    "world:",
    "hf:",
    "abc+fog@9",
]
"""Values that are wrong in most places, and right in some."""


def value(rng: random.Random, depth: int = 0) -> Any:
    """A scalar, or a list or mapping of values."""
    kind = rng.random()
    if kind < 0.7 or depth > 2:
        return rng.choice(SCALARS)
    count = rng.randrange(0, 4)
    if kind < 0.85:
        return [value(rng, depth + 1) for _ in range(count)]
    return {rng.choice(["a", "name", "id", "", "1", "é"]) + str(i): value(rng, depth + 1) for i in range(count)}


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all nodes of a document below its root."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in inner for place in [(*path, key), *places(child, (*path, key))]]


def mutated(rng: random.Random, document: Any) -> tuple[Any, str]:
    """A document with one node replaced, removed, renamed, repeated or moved, and that in words."""
    changed = copy.deepcopy(document)
    place = rng.choice(places(changed))
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    key, where = place[-1], ".".join(map(str, place))
    action = rng.choice(("replace", "replace", "replace", "like", "like", "remove", "rename", "repeat", "nest"))
    if action == "remove":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        parent[rng.choice([f"{key}s", str(key).upper(), "", 7, None])] = parent.pop(key)
    elif action == "repeat" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif action == "nest":
        parent[key] = [parent[key]]
    elif action == "like":
        parent[key] = alike(rng, parent[key])
    else:
        parent[key] = value(rng)
    return changed, f"{where} {action}: {str(_at(changed, place))[:60]!r}"


def _at(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return "gone"
    return document


def alike(rng: random.Random, right: Any) -> Any:
    """A wrong value that looks like the right one."""
    if isinstance(right, bool):
        return rng.choice([str(right), int(right), float(right), None])
    if isinstance(right, (int, float)):
        return rng.choice(
            [
                str(right),
                float(right),
                right + 0.5,
                -right,
                right + 1,
                right * 10**9,
                float("nan"),
                [right],
                str(right) + " ",
            ]
        )
    if isinstance(right, str):
        return rng.choice(
            [
                right.upper(),
                right + " ",
                right[:-1],
                right + right,
                "\ufeff" + right,
                right + "\u200b",
                [right],
                {right: right},
                right + "\x1b[2J",
            ]
        )
    return rng.choice([[], {}, None, str(right), [right, right]])


def garbled(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """Text that was cut off, mixed up or encoded otherwise, and that in words."""
    name = rng.choice(sorted(GARBLED))
    return GARBLED[name](rng, content), name


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _insert(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return (
        content[:at]
        + rng.choice([b"\0", b"\xff\xfe", b"\t", b"'", b'"', b"{", b"]", b":", b"&a *a", b"<", b"\x1b[0m"])
        + content[at:]
    )


def _lines_swapped(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


GARBLED: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "cut": _cut,
    "a piece inserted": _insert,
    "lines shuffled": _lines_swapped,
    "empty": lambda rng, content: b"",
    "UTF-16": lambda rng, content: content.decode().encode("utf-16"),
    "Latin-1": lambda rng, content: content + "# naïve\n".encode("latin-1"),
    "random bytes": lambda rng, content: rng.randbytes(200),
    "a BOM": lambda rng, content: b"\xef\xbb\xbf" + content,
    "deep lists": lambda rng, content: b"[" * DEEP + b"]" * DEEP,
    "deep lists in it": lambda rng, content: content.rstrip(b"}\n ") + b"\nzzz: " + b"[" * DEEP + b"]" * DEEP,
    "deep mappings": lambda rng, content: b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep elements": lambda rng, content: b"<a>" * DEEP + b"</a>" * DEEP,
    "a number of many digits": lambda rng, content: b"9" * 5000,
    "many digits in it": lambda rng, content: content.replace(b"1", b"1" * 5000, 1),
    "aliases of aliases": lambda rng, content: (
        b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d, *a%d, *a%d, *a%d]\n" % (i, i, i - 1, i - 1, i - 1, i - 1) for i in range(1, 30))
    ),
    "a list": lambda rng, content: b"[1, 2]",
    "a text": lambda rng, content: b'"abc"',
    "null": lambda rng, content: b"null",
}


def as_yaml(document: Any) -> bytes:
    """A document as YAML."""
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


def as_json(document: Any) -> bytes:
    """A document as JSON, with NaN and infinity as Python writes them."""
    return json.dumps(document).encode()


def on_command_line(wrong: Any) -> str:
    """A value as YAML in one line, as `key=VALUE` takes it."""
    return yaml.safe_dump(wrong, default_flow_style=True, width=10**9, allow_unicode=True).removesuffix("...\n").strip()
