"""The whole of `minorkey spectrum --knockout`: a run or a frozen probe, judged without components, and the files."""

from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.config import resolve
from minorkey.runs.train import train
from minorkey.spectrum.files import check_spectrum
from minorkey.spectrum.knockout.files import write_knockout
from minorkey.spectrum.knockout.knockout import IMAGES, SHARE, knockout
from minorkey.spectrum.knockout.rows import KnockoutRow
from minorkey.spectrum.knockout.suggestion import Suggestion, suggest
from minorkey.spectrum.run import is_run, spectrum_folder
from minorkey.system.console import PlainConsole

PROBE: dict[str, Any] = {"method": "frozen", "head": "linear", "head_from": None}
"""How the probe differs from the preset `demo_quick`."""


def analyse(
    target: str | Path,
    *,
    components: float = SHARE,
    images: int = IMAGES,
    with_unseen: bool = False,
    out: str | Path | None = None,
    console: Console | None = None,
) -> tuple[list[KnockoutRow], Suggestion]:
    """Knock out components of a run or of a frozen probe, suggest `first_block`, and write tables and pictures.

    Args:
        target: a run folder, or a backbone, on which a linear head is trained first (`frozen_probe`).
        components: how many are removed, as a share of the singular values of each weight, in `(0, 1]`.
        images: judged per domain.
        with_unseen: let the unseen domains take part in the suggestion (see `suggest`).
        out: folder for tables and pictures; None: `spectrum/` in the run, or `spectrum-BACKBONE`.
        console: where progress is shown; None: standard error.

    Returns:
        The rows and the suggestion.

    Raises:
        MinorkeyError: bad input; one line says what to do.
    """
    console = console or PlainConsole(stderr=True)
    folder = Path(out) if out is not None else spectrum_folder(target)
    check_spectrum(folder, Path(target) if is_run(target) else None)
    if is_run(target):
        run = Path(target)
        console.print(f"judging run '{run}'", highlight=False, soft_wrap=True)
    else:
        run = folder / "probe"
        console.print(
            f"judging a frozen probe of '{target}', a linear head in '{run}'", highlight=False, soft_wrap=True
        )
        frozen_probe(str(target), run, console)
    rows = knockout(run, components=components, images=images, out=folder, console=console)
    suggestion = suggest(rows, with_unseen=with_unseen)
    write_knockout(rows, suggestion, folder)
    return rows, suggestion


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
