"""Images that are not 8-bit RGB, written as cameras, satellites and scanners do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_arrays(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set of arrays with label images, ids 0 field, 1 water: `channels` values from 0 to `most`."""

    def write(name: str = "fields", *, said: str = "", most: int = 4095, channels: int = 5, count: int = 4) -> Path:
        root, rng = tmp_path / name, np.random.default_rng(0)
        for split in ("train", "val"):
            for kind in ("images", "labels"):
                (root / kind / split).mkdir(parents=True)
            for index in range(count):
                labels = (rng.random((4, 6)) < 0.5).astype(np.uint8).repeat(8, 0).repeat(8, 1)
                image = rng.integers(0, most + 1, (*labels.shape, channels)).astype(np.uint16)
                image[..., -1] = np.where(labels == 1, most, 0)  # the last channel tells the classes apart, no other
                np.save(root / "images" / split / f"{index}.npy", image)
                Image.fromarray(labels).save(root / "labels" / split / f"{index}.png")
        (root / "dataset.yaml").write_text(f"ids: {{0: field, 1: water}}\n{said}\n")
        return root

    return write


@pytest.fixture
def write_named(tmp_path: Path) -> Callable[[str], Path]:
    """Write a data set of arrays of four channels with a class or boxes each, `category` or `boxes`."""

    def write(kind: str) -> Path:
        root, rng = tmp_path / kind, np.random.default_rng(0)
        for split in ("train", "val"):
            for index in range(4):
                name = f"{split}/{'ab'[index % 2]}" if kind == "category" else f"images/{split}"
                (root / name).mkdir(parents=True, exist_ok=True)
                np.save(root / name / f"{index}.npy", rng.random((40, 48, 4)).astype(np.float32))
                if kind == "boxes":
                    (root / "labels" / split).mkdir(parents=True, exist_ok=True)
                    (root / "labels" / split / f"{index}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
        said = "boxes: yolo\nclasses: [ship]\n" if kind == "boxes" else "images: '{split}/{category}/{key}.npy'\n"
        (root / "dataset.yaml").write_text(f"{said}channels: [red, green, blue, nir]\nrange: [0, 1]\n")
        return root

    return write
