"""Label maps and images of a toy street, and predictions of it."""

import numpy as np
from PIL import Image, ImageFilter

from minorkey.labels import label_space

SPACE = label_space("cityscapes19")
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
