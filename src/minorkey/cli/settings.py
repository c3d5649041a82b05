"""What commands that train take alike: a preset, options of their own, and any other setting as KEY=VALUE."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from minorkey.config import RunConfig

EPILOG = "Any other setting is KEY=VALUE, e.g. `training.steps=500`, `method.rank=32`, `seed=1`."

Preset = Annotated[str | None, typer.Argument(help="A shipped preset, or the path of a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help=EPILOG)]
Method = Annotated[str | None, typer.Option(help="soma, lora, pissa, full or frozen.")]
Backbone = Annotated[str | None, typer.Option(help="'builtin', a local folder or a hub id.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder that holds the named data sets.")]


def settings(
    preset: str | None, overrides: list[str] | None, options: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """The preset, and nested values of options and overrides; the first of these may stand where a preset does.

    Raises:
        ConfigError: an override is none.
    """
    from minorkey.config import parse_overrides

    arguments = list(overrides or [])
    if preset and "=" in preset:
        arguments.insert(0, preset)
        preset = None
    return preset, parse_overrides(arguments, {key: value for key, value in options.items() if value not in (None, [])})


def default_folder(config: "RunConfig", preset: str) -> Path:
    """`runs/PRESET-METHOD-SEED`."""
    method = config.method.name.replace(":", ".")  # of package.module:attribute
    return Path("runs") / f"{Path(preset).stem}-{method}-{config.seed}"


def about_preset(name: str) -> str:
    """What the file of a shipped preset says of it at its head, the first sentence."""
    import re
    from importlib.resources import files
    from itertools import takewhile

    text = (files("minorkey") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    comment = " ".join(line.strip("# ") for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    return re.split(r"\.(?:\s|$)", comment, maxsplit=1)[0]
