"""Two processes on this machine, started as a user does: with torchrun."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Launched:
    """How a launch ended."""

    report: str  # what torchrun itself said
    code: int
    stdout: list[str]  # of each process
    stderr: list[str]


def torchrun(folder: Path, *command: object, warm: Path | None = None) -> Launched:
    """Run a command in two processes, whose outputs are kept apart.

    Args:
        folder: for their outputs.
        command: a script or a module, and arguments.
        warm: folder of `warm_commands`, which then start launcher and processes; their ends are no longer their own.
    """
    logs = folder / "logs"
    options = ["--nproc_per_node", "2", "--redirects", "3", "--log-dir", str(logs)]
    launcher = [sys.executable, "-m", "torch.distributed.run"] if warm is None else [warm / "torchrun"]
    python = sys.executable if warm is None else warm / "warm-python"
    result = subprocess.run(
        [*map(str, [*launcher, *options, *command])],
        env={**os.environ, "PYTHON_EXEC": str(python)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    texts = {
        name: [path.read_text() for path in sorted(logs.glob(f"*/attempt_0/*/{name}.log"))]
        for name in ("stdout", "stderr")
    }
    return Launched(result.stdout + result.stderr, result.returncode, **texts)


IGNORED_FROM = (64, 64, 8, 0)
"""First row, of 64, that is not labelled in each training image."""


def write_streets(root: Path, seed: int = 0) -> Path:
    """Noise in the folder layout; of four training images one has no labelled pixel and one has few."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 4), ("val", 5)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(root / "images" / split / f"{index}.png")
            labels = rng.integers(0, 2, (64, 64), np.uint8)
            if split == "train":
                labels[IGNORED_FROM[index] :] = 255
            Image.fromarray(labels).save(root / "labels" / split / f"{index}.png")
    (root / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")
    return root
