"""`minorkey config`."""

from typing import TYPE_CHECKING

import typer

from minorkey.cli.settings import Overrides, about_preset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel


def config(preset: str = typer.Argument(help="A shipped preset, or a YAML file."), overrides: Overrides = None) -> None:
    """Show every setting of a preset, as a run would have it, with what it means.

    The output is YAML that `minorkey train FILE.yaml` takes.

    * `minorkey config demo`

    * `minorkey config gta_to_cbm method=lora training.steps=500 > mine.yaml`
    """
    from minorkey.config import parse_overrides, presets, resolve

    resolved = resolve(preset, parse_overrides(overrides or []))
    if preset in presets():
        typer.echo(f"# {about_preset(preset)}")
    typer.echo("\n".join(_lines(resolved, 0)))


def _lines(options: "BaseModel", depth: int) -> "Iterator[str]":
    """The keys of options as YAML, each with its description as a comment; options within are indented."""
    from pydantic import BaseModel

    indent = "  " * depth
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        meaning = f"  # {field.description}" if field.description else ""
        if isinstance(value, BaseModel) and type(value).model_fields:
            yield f"{indent}{name}:{meaning}"
            yield from _lines(value, depth + 1)
        else:
            yield f"{indent}{name}: {_value(options, name)}{meaning}"


def _value(options: "BaseModel", name: str) -> str:
    """A value as YAML, on one line."""
    import yaml

    value = options.model_dump(mode="json", include={name})[name]
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()
