"""Tiny runs that adapt to an unlabelled target, and how two of them are compared."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import read_sealed
from minorkey.training.checkpoint import checkpoints

MEASURED = ("seconds", "images_per_second", "peak_memory_mb", "memory_mb")
"""What the clock and the machine say: different in every run."""

EVERYTHING = {
    "threshold": 0.06,
    "balance": "confidence",
    "masking": {"hide": "tokens"},
    "feature_distance_source": 0.1,
    "feature_distance_target": 0.1,
}
"""Self-training with all its parts, and a threshold that an untrained network reaches at times."""


def adapting(
    regime: str, teacher: str, *, buffers: str = "target", training: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Changes of the tiny run: as few images as will do, and a head with batch norms."""
    return {
        "regime": regime,
        "teacher": {"name": teacher, "momentum": 0.7, "buffers": buffers},
        "target": "world:night",
        "world": {"size": [64, 32], "train_count": 6, "eval_count": 2},
        "head": {"name": "upernet", "channels": 8},
        "evaluation": {"source": False, "pictures": 0, "images": 2},
        "training": {"steps": 3, "snapshots": 0, **(training or {})},
        "transda": {"rounds": 1, "class_wise": True},
        "self_training": EVERYTHING,
    } | changes


def read_log(folder: RunFolder) -> list[dict[str, Any]]:
    """The records without what was measured."""
    records = [json.loads(line) for line in folder.log.read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in MEASURED} for record in records]


def assert_same_files(left: Path, right: Path) -> None:
    """Tensors bit for bit."""
    a, b = load_file(left), load_file(right)
    assert a.keys() == b.keys()
    assert not [name for name in a if not torch.equal(a[name], b[name])]


def assert_same_training(actual: RunFolder, expected: RunFolder) -> None:
    """Deployed weights, all that the last checkpoint holds, and the log."""
    for name in ("adapter/adapter_model.safetensors", "head.safetensors"):
        assert_same_files(actual.path / name, expected.path / name)
    last = [checkpoints(folder.checkpoints)[-1] for folder in (actual, expected)]
    for part in ("adapter", "head", "optimizer", "best", "regime"):
        assert_same_files(*(path / f"{part}.safetensors" for path in last))
    assert read_log(actual) == read_log(expected)


def assert_same_scores(actual: RunFolder, expected: RunFolder) -> None:
    """As in metrics.json, and image by image."""
    assert_same_files(*(run.path / "confusions.safetensors" for run in (actual, expected)))
    scores = [read_sealed(folder.metrics).values for folder in (actual, expected)]
    for score in scores:
        for key in MEASURED:
            score["training"].pop(key, None)
    assert scores[0] == scores[1]
