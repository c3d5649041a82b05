"""What a training with a target leaves in a run folder: signals in the log, and pictures of pseudo-labels."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from streets import ROAD, SPACE, spoil, street_image, street_labels

BACKBONE = {"backbone": {"name": "vit"}, "head": {"name": "semfpn"}}
ADVERSARIAL = ("source", "auxiliary", "adversarial", "target", "discriminator", "weighting")
MIXED = ("source", "mixed", "masked")


def write_config(folder: Path, **changes: object) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text()) | BACKBONE | changes
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def adapt(
    folder: Path,
    *,
    target: str = "world:night",
    regime: str = "self_training",
    steps: int = 300,
    rounds: int = 0,
    collapse_at: int | None = None,
    images: int = 2,
) -> Path:
    """Turn a finished run into one that had a target, of `rounds` rounds before the last."""
    write_config(folder, target=[target], regime=regime, teacher={"name": "adapter_ema", "momentum": 0.999})
    for number, place in enumerate([*(folder / "rounds" / str(i) for i in range(rounds)), folder]):
        quality = 0.75 + 0.2 * number / max(rounds, 1)
        write_log(place, steps, quality, MIXED if regime == "self_training" else ADVERSARIAL, collapse_at)
        for step in (steps // 3, 2 * steps // 3, steps):
            write_snapshot(place, step, quality * (0.5 + 0.5 * step / steps), images)
    return folder


def write_log(folder: Path, steps: int, quality: float, losses: tuple[str, ...], collapse_at: int | None) -> None:
    noise = np.random.default_rng(int(1000 * quality))
    source = np.bincount(street_labels(noise, 64, 128).ravel(), minlength=256)[: len(SPACE)] + 3.0
    lines = []
    for step in range(5, steps + 1, 5):
        swallowed = collapse_at is not None and step >= collapse_at
        grown = quality * (1 - np.exp(-step / 60))
        pseudo = source * noise.uniform(0.7, 1.4, len(SPACE))
        if swallowed:
            pseudo[ROAD] *= 60
        values = {name: float(np.exp(-step / 80) + 0.3 + 0.1 * i) for i, name in enumerate(losses)}
        signals = {"confidence": 0.5 + 0.5 * grown, "kept": grown, "agreement": 0.6 + 0.4 * grown}
        lines.append({
            "step": step, "loss": sum(values.values()), **values,
            **{name: float(np.clip(value + noise.normal(0, 0.02), 0, 1)) for name, value in signals.items()},
            "pseudo_classes": (pseudo / pseudo.sum()).tolist(), "source_classes": (source / source.sum()).tolist(),
            "lr": 1e-4, "images_per_second": 20.0, "memory_mb": 900.0, "seconds": step / 3,
        })  # fmt: skip
        if swallowed:
            lines.append({"step": step, "collapse": "road"})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_snapshot(folder: Path, step: int, quality: float, images: int, domain: str = "night") -> None:
    for index in range(images):
        scene, noise = np.random.default_rng([index, 7]), np.random.default_rng([index, step])
        truth = street_labels(scene, 40, 240)
        teacher, student = spoil(noise, truth, quality), spoil(noise, truth, 0.9 * quality)
        kept = np.where(teacher == np.where(truth == 255, 0, truth), 255, 0).astype(np.uint8)
        place = folder / "figures" / "pseudo_labels" / f"step-{step:07d}" / domain / f"{index:04d}"
        place.mkdir(parents=True)
        pictures = {"image": street_image(scene, truth, 0.5), "teacher": teacher, "student": student, "kept": kept}
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(place / f"{name}.png")
