"""Run folders of detection without a model: boxes of a toy street, some missed, some moved, some made up."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFilter
from safetensors.numpy import save_file

from minorkey.data.sample import Sample
from minorkey.evaluation.scores import TrainingCost, build_scores
from minorkey.labels import label_space
from minorkey.tasks.detection.metric import BoxEvaluator
from minorkey.tasks.detection.prediction import DetectionPrediction
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.predictor import Started
from minorkey.tasks.protocol import Protocol

SPACE = label_space("cityscapes19")
PERSON, CAR, BUS = (SPACE.classes.index(name) for name in ("person", "car", "bus"))
LIGHTS = {"clear": 1.0, "dusk": 0.8, "night": 0.4, "fog": 0.6}
SHAPES = {CAR: (0.16, 0.14), PERSON: (0.04, 0.22), BUS: (0.24, 0.3)}  # of the image's width and height


def write_box_run(
    folder: Path,
    method: str,
    quality: float,
    images: int = 6,
    size: tuple[int, int] = (96, 192),
    metric: str = "coco",
) -> Path:
    """A run folder as training and evaluation leave it; equal scenes for every method and domain."""
    protocol = Protocol(label_space=SPACE.name, metric=metric)
    evaluator = BoxEvaluator(len(SPACE), protocol, metric)
    noise = np.random.default_rng([5, *method.encode()])
    evidence = {}
    for domain, light in LIGHTS.items():
        notes = []
        for index in range(images):
            sample = street(np.random.default_rng([index, 7]), domain, f"{index:04d}", light, size)
            prediction = find(noise, sample, quality * (0.4 + 0.6 * light))
            notes.append(evaluator.note(sample, Started(prediction, sample.image, lambda found, image: found)))
            if index < 2:
                Detection().keep(sample, prediction, folder / "figures" / "samples" / domain / sample.key)
        evidence[domain] = evaluator.evidence(notes)
    scores = build_scores(
        {domain: ("source" if domain == "clear" else "unseen", kept) for domain, kept in evidence.items()},
        run=f"{method}-0", method=method, task="detection", classes=SPACE.classes, protocol=protocol,
        training=TrainingCost(steps=300, seconds=95.0, trained_parameters=320_000, total_parameters=5_740_000, seed=0),
        shared_scenes=True,
    )  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(scores.to_json()))
    (folder / "config.yaml").write_text(yaml.safe_dump({"task": "detection", "method": {"name": method}}))
    stored = [kept.stored(domain) for domain, kept in evidence.items()]
    save_file({name: array for part in stored for name, array in part.items()}, folder / "detections.safetensors")
    return folder


def street(rng: np.random.Generator, domain: str, key: str, light: float, size: tuple[int, int]) -> Sample:
    """Cars, people, a bus and a crowd in front of a sky and a road."""
    height, width = size
    classes = np.array([BUS, CAR, CAR, CAR, PERSON, PERSON, PERSON, PERSON])
    shapes = np.array([SHAPES[kind] for kind in classes]) * [width, height] * rng.uniform(0.6, 1.2, (8, 1))
    corners = rng.uniform([0, 0.45], [0.85, 0.6], (8, 2)) * [width, height]
    boxes = np.concatenate([corners, corners + shapes], axis=1).clip(0, [width, height, width, height])
    picture = Image.new("RGB", (width, height), (150, 160, 175))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height * 0.55, width, height), fill=(95, 95, 100))
    for kind, box in zip(classes, boxes, strict=True):
        draw.rectangle(
            tuple(box - [0, 0, 1, 1]), fill=tuple((SPACE.colours[kind] * 0.5 + rng.uniform(40, 110)).astype(int))
        )
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(height / 200))) * light
    image = (pixels + rng.normal(0, 8, (height, width, 1))).clip(0, 255).astype(np.uint8)
    crowd = np.arange(8) == 7
    boxes[7, 2:] = (boxes[7, :2] + np.array([0.2, 0.2]) * [width, height]).clip(0, [width, height])
    return Sample(image, domain, key, boxes=boxes.astype(np.float32), box_classes=classes, crowd=crowd)


def find(rng: np.random.Generator, sample: Sample, quality: float) -> DetectionPrediction:
    """The boxes of a sample, of which a share of `quality` is where it should be, and others where nothing is."""
    height, width = sample.image.shape[:2]
    found = rng.random(len(sample.boxes)) < quality
    sides = np.tile(sample.boxes[:, 2:] - sample.boxes[:, :2], 2)
    moved = sample.boxes + rng.normal(0, 0.06, sample.boxes.shape) * sides
    strays = int(rng.poisson(4 * (1 - quality)))
    corners = rng.uniform(0, 0.85, (strays, 2)) * [width, height]
    made_up = np.concatenate([corners, corners + rng.uniform(0.04, 0.2, (strays, 2)) * [width, height]], axis=1)
    boxes = np.concatenate([moved[found], made_up]).clip(0, [width, height, width, height])
    classes = np.concatenate([sample.box_classes[found], rng.choice([CAR, PERSON, BUS], strays)])
    scores = np.concatenate([rng.uniform(0.4, 1, found.sum()), rng.uniform(0.1, 0.7, strays)])
    order = scores.argsort()[::-1]
    return DetectionPrediction(
        boxes[order].astype(np.float32), scores[order].astype(np.float32), classes[order], sample.image, SPACE
    )
