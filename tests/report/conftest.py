"""Realistic run folders without a model: label maps of a toy street, spoilt by a method's error rate."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file
from streets import SPACE, spoil, street_image, street_labels

from minorkey.evaluation.scores import TrainingCost, build_scores
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.confusion import confusion_matrix
from minorkey.tasks.segmentation.evidence import PixelEvidence

DOMAINS = {"clear": 0.9, "dusk": 0.8, "night": 0.5, "fog": 0.65, "rain": 0.7}


def write_run(
    folder: Path,
    method: str,
    quality: float,
    seed: int = 0,
    images: int = 6,
    size: tuple[int, int] = (64, 128),
    steps: int = 300,
    **protocol: object,
) -> Path:
    """A run folder as training and evaluation leave it; equal scenes for every method and domain."""
    noise = np.random.default_rng([seed, *method.encode()])
    confusions, places = {}, {}
    for domain, light in DOMAINS.items():
        matrices = []
        for index in range(images):
            scene = np.random.default_rng([index, 7])
            truth = street_labels(scene, *size)
            share = quality * (0.55 + 0.45 * light) + scene.normal(0, 0.04)
            prediction = spoil(noise, truth, share)
            matrices.append(confusion_matrix(prediction, truth, len(SPACE)))
            if index < 2:
                place = folder / "figures" / "samples" / domain / f"{index:04d}"
                place.mkdir(parents=True)
                places.setdefault(domain, {})[place.name] = index
                Image.fromarray(street_image(scene, truth, light)).save(place / "image.png")
                Image.fromarray(truth).save(place / "truth.png")
                Image.fromarray(prediction).save(place / "prediction.png")
        confusions[domain] = np.stack(matrices)
    _write_tables(folder, method, confusions, Protocol(label_space=SPACE.name, **protocol), seed, steps)
    (folder / "figures" / "samples.json").write_text(json.dumps(places))
    _write_log(folder, quality, noise)
    return folder


def _write_tables(folder, method, confusions, protocol, seed, steps):
    trained = {"frozen": 40_000, "full": 5_700_000}.get(method, 320_000)
    scores = build_scores(
        {
            domain: ("source" if domain == "clear" else "unseen", PixelEvidence.of_matrices(matrices, protocol.absent))
            for domain, matrices in confusions.items()
        },
        run=f"{method}-{seed}",
        method=method,
        classes=SPACE.classes,
        protocol=protocol,
        training=TrainingCost(
            steps=steps, seconds=95.0, images_per_second=25.3, peak_memory_mb=910.0, trained_parameters=trained,
            total_parameters=5_740_000, device="cpu", learning_rate=1e-4, seed=seed,
        ),
        shared_scenes=True,
    )  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(scores.to_json()))
    (folder / "config.yaml").write_text(yaml.safe_dump({"method": {"name": method, "rank": 16}, "seed": seed}))
    save_file(confusions, folder / "confusions.safetensors")


def _write_log(folder, quality, noise):
    steps = range(0, 300, 3)
    records = [
        {
            "step": step,
            "loss": float((1.6 - quality) * (np.exp(-step / 80) * 2 + 0.5) + noise.normal(0, 0.08)),
            "lr": 1e-4 * (1 - step / 300) ** 0.9,
            "images_per_second": 25.0,
            "seconds": step / 3,
        }
        for step in steps
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> list[Path]:
    """SoMA, LoRA, full, frozen on the same images; SoMA best by far."""
    root = tmp_path_factory.mktemp("runs")
    qualities = {"soma": 0.95, "lora": 0.8, "full": 0.75, "frozen": 0.6}
    return [write_run(root / method, method, quality) for method, quality in qualities.items()]


@pytest.fixture
def make_run(tmp_path) -> Callable[..., Path]:
    """Write further runs: `make_run("lora", 0.8, **protocol)`."""
    return lambda method, quality, **options: write_run(
        tmp_path / f"{method}-{len(list(tmp_path.iterdir()))}", method, quality, **options
    )
