"""What trials begin with: a tiny backbone, small data sets, finished runs of every kind; made once, then copied."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from fault_trials.child import run

SMALL: dict[str, Any] = {
    "source": ["world:clear"],
    "unseen": ["world:night"],
    "world": {"size": [64, 32], "train_count": 6, "eval_count": 2},
    "head": {"name": "semfpn", "channels": 8},
    "method": {"name": "soma", "rank": 4},
    "transform": {"crop": [32, 32], "scale_ratios": [1.0, 1.25]},
    "training": {
        "steps": 4, "batch_size": 2, "lr": 1e-3, "backbone_lr": 1e-3, "log_every": 1, "checkpoint_every": 2,
        "snapshots": 0, "device": "cpu", "workers": 0,
    },
    "evaluation": {"pictures": 1, "images": 2},
}  # fmt: skip

ADAPTING = {"target": ["world:night"], "teacher": {"name": "adapter_ema", "momentum": 0.7}}

BOXES = {
    "task": "detection",
    "label_space": "weather7",
    "world": {"size": [128, 64], "train_count": 4, "eval_count": 2},
    "head": {"name": "rt_detr_v2", "channels": 32, "queries": 6, "decoder_layers": 2},
    "transform": {"crop": [64, 64], "scale_jitter": [0.8, 1.6]},
}

KINDS: dict[str, dict[str, Any]] = {
    "segmentation": {},
    "full": {"method": {"name": "full"}},
    "wide": {"world": {"size": [256, 256], "train_count": 2, "eval_count": 2}, "transform": {"crop": [256, 256]}},
    "detection": BOXES,
    "classification": {
        "task": "classification", "source": ["CLASSES-day"], "unseen": ["CLASSES-night"],
        "head": {"name": "pooled"}, "transform": {"crop": [32, 32], "photometric": False},
    },
    "self_training": {"regime": "self_training", "self_training": {"threshold": 0.06, "warmup": 1}, **ADAPTING},
    "transda": {"regime": "transda", "transda": {"rounds": 1, "class_wise": True}, **ADAPTING},
}  # fmt: skip
"""Kinds of runs: what they change in `SMALL`."""

CLASSES = {"apple": (200, 40, 40), "leaf": (40, 180, 60)}


class Material:
    """Lies below `folder`; what is asked for is made there once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """A folder with what `make` writes into it, whole even where several processes make it at once."""
        place = self.folder / name
        if not place.exists():
            partial = self.folder / f".{name}-{os.getpid()}"
            partial.mkdir(parents=True)
            try:
                make(partial)
                partial.rename(place)
            except OSError:
                if not place.exists():  # else another process was first
                    raise
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return place

    @property
    def backbone(self) -> Path:
        """A DINOv2 of 4 blocks, width 32, patch 8; every weight is random."""
        return self.made("backbone", _write_backbone)

    @property
    def streets(self) -> Path:
        """Label images: splits train and val of 3, ids 0 road, 1 car."""
        return self.made("streets", write_streets)

    @property
    def classes(self) -> Path:
        """Classified images: `<domain>/<class>/<i>.png`."""
        return self.made("classes", _write_classes)

    @property
    def photos(self) -> Path:
        """Three images to predict."""
        return self.made("photos", lambda folder: [_save(noise(i, 32, 48), folder / f"{i}.png") for i in range(3)])

    def boxes(self, layout: str) -> Path:
        """Boxes in the layout coco, voc or yolo, splits train and val of 3."""
        return self.made(f"boxes-{layout}", lambda folder: write_boxes(folder, layout))

    def config(self, kind: str, **changes: Any) -> dict[str, Any]:
        """The configuration of a kind of run, with changes."""
        values = merged(merged(SMALL, {"backbone": str(self.backbone)}), KINDS[kind])
        if kind == "classification":
            for key in ("source", "unseen"):
                values[key] = [name.replace("CLASSES", str(self.classes)) for name in values[key]]
        return merged(values, changes)

    def config_file(self, kind: str, **changes: Any) -> Path:
        """The same as a YAML file."""
        values = self.config(kind, **changes)
        digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()
        name = f"config-{kind}-{digest[:8]}" if changes else f"config-{kind}"
        made = self.made(name, lambda folder: (folder / "run.yaml").write_text(yaml.safe_dump(values)))
        return made / "run.yaml"

    def run(self, kind: str, seed: int = 0) -> Path:
        """A finished run; only read it."""
        name = f"run-{kind}-{seed}"
        if not (self.folder / name).exists():
            file = self.config_file(kind, **({"seed": seed} if seed else {}))

            def train(folder: Path) -> None:
                (folder / "cwd").mkdir()
                end = run(["train", str(file), "--out", str(folder / "run")], folder / "cwd", seconds=120)
                if end.code:
                    raise RuntimeError(f"the material cannot be made: {end.text}")

            self.made(name, train)
        return self.folder / name / "run"


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with nested changes; a section that names another part is taken whole."""
    new = dict(base)
    for key, value in changes.items():
        same = isinstance(value, dict) and isinstance(base.get(key), dict) and "name" not in value
        new[key] = merged(base[key], value) if same else value
    return new


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """An image of noise (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _save(array: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


def _write_backbone(folder: Path) -> None:
    import torch
    from transformers import Dinov2Backbone, Dinov2Config

    torch.manual_seed(0)
    backbone = Dinov2Backbone(
        Dinov2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, patch_size=8, image_size=64)
    )
    for parameter in backbone.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    backbone.save_pretrained(folder)


def write_streets(root: Path) -> None:
    """A data set with label images, in the folder layout."""
    for number, split in enumerate(("train", "val")):
        for index in range(3):
            _save(noise(10 * number + index, 32, 48), root / "images" / split / f"{index}.png")
            labels = (noise(50 + 10 * number + index, 32, 48)[..., 0] % 2).astype(np.uint8)
            _save(labels, root / "labels" / split / f"{index}.png")
    (root / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")


def _write_classes(root: Path) -> None:
    for number, domain in enumerate(("day", "night")):
        for title, colour in CLASSES.items():
            for index in range(5):
                image = np.array(colour) / (1 + number) + noise(index, 32, 40) / 16
                _save(image.clip(0, 255).astype(np.uint8), root / domain / title / f"{index}.png")


BOX = (5.0, 6.0, 20.0, 10.0)
"""x, y, width and height of the object on each image of 64 x 48."""


def write_boxes(root: Path, layout: str) -> None:
    """A data set of boxes, one car an image."""
    x, y, w, h = BOX
    for number, split in enumerate(("train", "val")):
        keys = [f"{split}{index}" for index in range(3)]
        images = root / "JPEGImages" if layout == "voc" else root / "images" / split
        for index, key in enumerate(keys):
            _save(noise(10 * number + index, 48, 64), images / f"{key}.png")
        if layout == "coco":
            content = {
                "images": [{"id": i, "file_name": f"{k}.png", "width": 64, "height": 48} for i, k in enumerate(keys)],
                "categories": [{"id": 1, "name": "car"}],
                "annotations": [
                    {"id": i, "image_id": i, "category_id": 1, "bbox": [x, y, w, h], "iscrowd": 0} for i in range(3)
                ],
            }
            (root / "annotations").mkdir(exist_ok=True)
            (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
        for key in keys if layout == "yolo" else ():
            file = root / "labels" / split / f"{key}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"0 {(x + w / 2) / 64} {(y + h / 2) / 48} {w / 64} {h / 48}\n")
        if layout == "voc":
            for folder in ("Annotations", "ImageSets/Main"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))
            for key in keys:
                (root / "Annotations" / f"{key}.xml").write_text(
                    "<annotation><size><width>64</width><height>48</height></size><object><name>car</name><bndbox>"
                    f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox>"
                    "</object></annotation>"
                )
    (root / "dataset.yaml").write_text(f"boxes: {layout}\n" + ("" if layout == "coco" else "classes: [car]\n"))
