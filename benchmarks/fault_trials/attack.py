"""An attack: what is laid out in a sandbox, and the commands that meet it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fault_trials.bad_input import QUICK
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox

MARKUP = "<img src=x onerror=alert(1)>"


EVIL = """
from pathlib import Path
Path({marker!r}).write_text("executed")
thing = 5
"""


@dataclass
class Attack:
    """What was laid out, and the commands that meet it."""

    what: str
    commands: list[list[str]]
    secrets: list[Path] = field(default_factory=list)
    raw: str = ""  # what no page and no card may hold as it is


Layout = Callable[[random.Random, Sandbox, Material], Attack]


NAMES = (
    "../../outside/x",
    "/OUTSIDE/x",
    "..",
    "a/../../../outside/x",
    "x/../../outside",
    "\x1b[31mred",
    "a\nb",
    "a\\..\\b",
    "CON",
    "x" * 400,
    ".",
    " ",
    MARKUP,
)
"""Names that become parts of paths and of pages."""


def train(
    material: Material, data: str = "data", space: str = "street7", kind: str = "segmentation", *more: str
) -> list[str]:
    return [
        "train",
        str(material.config_file(kind)),
        *QUICK,
        "evaluation.pictures=1",
        f"label_space={space}",
        "--source",
        data,
        "--unseen",
        data,
        "--out",
        "out",
        *more,
    ]


def check(task: str = "segmentation", space: str = "street7") -> list[str]:
    return ["data", "check", "data", f"task={task}", f"label_space={space}", "--workers", "0", "--out", "checked"]


def streets(box: Sandbox, material: Material, **changes: Any) -> Path:
    root = box.copy(material.streets, "data")
    content = yaml.safe_load((root / "dataset.yaml").read_text())
    (root / "dataset.yaml").write_text(yaml.safe_dump(content | changes, allow_unicode=True))
    return root
