from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set of random street scenes in the folder layout; ids 0 road, 1 car, 255 ignore."""

    def write(
        name: str = "mine",
        split: str = "train",
        keys: tuple[str, ...] = ("a", "b"),
        size: tuple[int, int] = (8, 12),
    ) -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / name
        for key in keys:
            for kind in ("images", "labels"):
                (root / kind / split / key).parent.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / "images" / split / f"{key}.png")
            labels = rng.choice(np.array([0, 1, 255], np.uint8), size)
            Image.fromarray(labels).save(root / "labels" / split / f"{key}.png")
        (root / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")
        return root

    return write
