"""Small data sets of classified images: each class has a colour of its own, each domain a brightness."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"apple": (200, 40, 40), "leaf": (40, 180, 60), "sky": (60, 90, 220)}
DOMAINS = ("day", "dusk", "night")


def picture(name: str, domain: str, index: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    rng = np.random.default_rng([len(name), len(domain), index])
    shade = 1 / (1 + list(DOMAINS).index(domain)) if domain in DOMAINS else 1
    pixels = shade * np.array(COLOURS[name.partition(",")[0]]) + rng.normal(0, 8, (*size, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """A folder `<domain>/<class>/<i>.png`, or without domains `<class>/<i>.png`; images of all classes share names."""

    def write(
        name: str = "fruit", domains: Sequence[str] = DOMAINS, classes: Sequence[str] = tuple(COLOURS), images: int = 10
    ) -> Path:
        root = tmp_path / name
        for domain in domains:
            for title in classes:
                folder = root / domain / title
                folder.mkdir(parents=True)
                for index in range(images):
                    picture(title, domain, index).save(folder / f"{index:02d}.png")
        return root

    return write
