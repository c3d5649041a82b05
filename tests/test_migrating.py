"""What docs/migrating.md calls ours is there: keys of the configuration, presets, methods, heads, calls."""

import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import minorkey
from minorkey.adapters.specs import METHODS
from minorkey.config import presets, resolve
from minorkey.tasks.table import task_named

PAGE = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `") or " | `" in line]
OURS = "\n".join(row[-1] for row in ROWS)
KEYS = sorted(set(re.findall(r"`([a-z_]+\.[a-z_]+)`", OURS)))


def test_rows_are_found() -> None:
    assert len(ROWS) > 60
    assert len(KEYS) > 40


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_one_of_the_configuration(key: str) -> None:
    part, _, name = key.partition(".")
    if part == "dataset":  # the file
        return
    value = getattr(resolve("demo"), part)
    fields = type(value) if isinstance(value, BaseModel) else _type_of(part)
    assert name in fields.model_fields


def _type_of(part: str) -> type[BaseModel]:
    return next(
        kind
        for kind in inspect.get_annotations(minorkey.RunConfig, eval_str=True)[part].__args__
        if inspect.isclass(kind)
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)*_to_[a-z0-9_]+)`", OURS))))
def test_a_preset_ships(name: str) -> None:
    assert name in presets()


def test_methods_and_heads_ship() -> None:
    methods = [name for row in ROWS if "method.name`: " in row[-1] for name in _after(row[-1], "method.name")]
    heads = [name for row in ROWS if "head.name`: " in row[-1] for name in _after(row[-1], "head.name")]
    assert {"soma", "pissa", "dora"} <= set(methods) <= set(METHODS)
    assert {"upernet", "mask2former"} <= set(heads) <= set(task_named("segmentation").heads.shipped)


def _after(text: str, key: str) -> list[str]:
    names = re.match(r"(?:`[a-z0-9_]+`(?:, )?)+", text.partition(f"`{key}`: ")[2])
    return re.findall(r"`([a-z0-9_]+)`", names[0]) if names else []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"minorkey\.([A-Za-z]+)\(", OURS))))
def test_a_call_is_public(name: str) -> None:
    assert name in minorkey.__all__


def test_commands_are_there() -> None:
    from typer.main import get_command

    from minorkey.cli import app

    commands = set(re.findall(r"minorkey ([a-z]+) ", OURS))
    assert {"train", "evaluate", "export"} <= commands <= set(get_command(app).commands)  # type: ignore[attr-defined]
