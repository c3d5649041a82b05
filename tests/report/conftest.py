"""Realistic run folders without a model: label maps of a toy street, spoilt by a method's error rate."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFilter
from safetensors.numpy import save_file

from minorkey.evaluation.confusion import confusion_matrix
from minorkey.evaluation.protocol import Protocol
from minorkey.evaluation.scores import TrainingCost, build_scores
from minorkey.labels import label_space

SPACE = label_space("cityscapes19")
DOMAINS = {"clear": 0.9, "dusk": 0.8, "night": 0.5, "fog": 0.65, "rain": 0.7}
ROAD, PAVEMENT, BUILDING, VEGETATION, SKY, PERSON, CAR = 0, 1, 2, 8, 10, 11, 13


def street_labels(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    labels = np.full((height, width), SKY, np.uint8)
    horizon, edges = int(height * 0.45), np.sort(rng.integers(0, width, 5))
    for left, right in zip([0, *edges], [*edges, width], strict=True):
        labels[int(height * rng.uniform(0.1, 0.4)) :, left:right] = rng.choice([BUILDING, VEGETATION])
    rows, columns = np.mgrid[:height, :width]
    depth = (rows - horizon).clip(0) / (height - horizon)
    labels[(rows > horizon) & (abs(columns - width / 2) < width * (0.05 + 0.75 * depth))] = PAVEMENT
    labels[(rows > horizon) & (abs(columns - width / 2) < width * (0.03 + 0.5 * depth))] = ROAD
    for kind, box in ((CAR, (0.16, 0.2)), (CAR, (0.1, 0.12)), (PERSON, (0.04, 0.22))):
        top, left = int(height * rng.uniform(0.45, 0.7)), int(width * rng.uniform(0, 0.85))
        labels[top : top + int(height * box[1]), left : left + int(width * box[0])] = kind
    labels[int(height * 0.94) :] = 255
    return labels


def street_image(rng: np.random.Generator, labels: np.ndarray, light: float) -> np.ndarray:
    colours = np.concatenate([SPACE.colours * 0.5 + 70, np.full((256 - len(SPACE), 3), 40)])
    noisy = (colours[labels] + rng.normal(0, 14, (*labels.shape, 3))) * light
    return np.asarray(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7)))


def spoil(rng: np.random.Generator, labels: np.ndarray, quality: float) -> np.ndarray:
    """Blotches of a wrong class over `1 - quality` of the image, roughly."""
    height, width = labels.shape
    coarse = Image.fromarray(rng.random((10, 20), np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    wrong = np.asarray(Image.fromarray(rng.integers(0, 14, (8, 16)).astype(np.uint8)).resize((width, height), 0))
    predicted = np.where(labels == 255, ROAD, labels)
    return np.where(np.asarray(coarse) > quality, wrong, predicted).astype(np.uint8)


def write_run(
    folder: Path,
    method: str,
    quality: float,
    seed: int = 0,
    images: int = 6,
    size: tuple[int, int] = (64, 128),
    **protocol: object,
) -> Path:
    """A run folder as training and evaluation leave it; equal scenes for every method and domain."""
    noise = np.random.default_rng([seed, *method.encode()])
    confusions = {}
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
                Image.fromarray(street_image(scene, truth, light)).save(place / "image.png")
                Image.fromarray(truth).save(place / "truth.png")
                Image.fromarray(prediction).save(place / "prediction.png")
        confusions[domain] = np.stack(matrices)
    _write_tables(folder, method, confusions, Protocol(label_space=SPACE.name, **protocol), seed)
    _write_log(folder, quality, noise)
    return folder


def _write_tables(folder, method, confusions, protocol, seed):
    trained = {"frozen": 40_000, "full": 5_700_000}.get(method, 320_000)
    scores = build_scores(
        {domain: ("source" if domain == "clear" else "unseen", m) for domain, m in confusions.items()},
        run=f"{method}-{seed}",
        method=method,
        classes=SPACE.classes,
        protocol=protocol,
        training=TrainingCost(
            steps=300, seconds=95.0, images_per_second=25.3, peak_memory_mb=910.0, trained_parameters=trained,
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
