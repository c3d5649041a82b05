"""A frozen probe: a linear head on an untouched backbone, so that its pretrained weights can be judged."""

from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.config import resolve
from minorkey.runs.train import train

PROBE: dict[str, Any] = {"method": "frozen", "head": "linear"}
"""How the probe differs from the preset `demo_quick`."""


def frozen_probe(backbone: str, out: Path, console: Console | None = None) -> Path:
    """Train a linear head on a frozen backbone for a minute, on clear scenes of the built-in world.

    An interrupted training goes on, and a finished one is used again.

    Args:
        backbone: 'builtin', a local folder or a hub id.
        out: the run folder of the probe.
        console: where progress is shown; None: standard error.

    Returns:
        `out`, a run like any other.

    Raises:
        MinorkeyError: the backbone cannot be loaded, or `out` holds another run.
    """
    train(resolve("demo_quick", {"backbone": backbone, **PROBE}), out, resume=True, console=console)
    return out
