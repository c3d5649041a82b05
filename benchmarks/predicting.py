"""Predicting a folder of images: `predict_folder` against one step after the other, as it was until now.

Wanted: at least 2.5 times the images/s with overlays and 6 times without, on 2 cores, and the same ids. The reference
is written out here: read a PNG, normalise it, predict, draw, write the overlay as PNG and the ids as PNG. The images
are scenes of the built-in world at 2048x1024, with noise that makes their files as large as those of Cityscapes; the
network is small, so that what lies around it counts. The ways take turns on parts of the images.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from minorkey.data.images import read_image
from minorkey.data.transforms import to_tensor
from minorkey.labels import colourise, label_space
from minorkey.runs import predict as prediction
from minorkey.runs.predict import predict_folder
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import Protocol
from minorkey.world import render

WANTED = {"with overlays": 2.5, "without overlays": 6.0}
NOISE = 0.7  # grey levels
SPACE = label_space("cityscapes19")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Small(PreTrainedModel):
    """Two convolutions at 1/16, and logits at the size of the image."""

    config_class = PreTrainedConfig

    def __init__(self) -> None:
        super().__init__(PreTrainedConfig())
        self.stem = nn.Conv2d(3, 32, 16, stride=16)
        self.head = nn.Conv2d(32, len(SPACE), 1)

    def forward(self, pixel_values: torch.Tensor) -> SemanticSegmenterOutput:
        """Logits `(B, K, H, W)`."""
        logits = self.head(self.stem(pixel_values).relu())
        return SemanticSegmenterOutput(logits=nn.functional.interpolate(logits, pixel_values.shape[-2:]))


def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(Small().eval().requires_grad_(False), SPACE, Protocol(label_space=SPACE.name), MEAN, STD)


def write_images(folder: Path, count: int, size: tuple[int, int], scenes: int = 6) -> None:
    folder.mkdir(parents=True)
    drawn = [Image.fromarray(render(0, scene, size=(512, 256)).image).resize(size) for scene in range(scenes)]
    for index in range(count):
        noise = np.random.default_rng(index).normal(0, NOISE, (size[1], size[0], 3)).round()
        pixels = (np.asarray(drawn[index % scenes]) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png", compress_level=1)


@torch.inference_mode()
def one_after_the_other(model: Predictor, images: Path, out: Path) -> None:
    """The reference, with overlays."""
    for folder in ("overlays", "ids"):
        (out / folder).mkdir(parents=True)
    for file in sorted(images.iterdir()):
        image = read_image(file)
        said = model.task.predict(model.model, to_tensor(image, MEAN, STD)[None], model.protocol, model.window_batch)
        labels = said[0].argmax(0).to(torch.uint8).numpy()
        mixed = 0.4 * image.astype(np.float32) + 0.6 * colourise(labels, SPACE).astype(np.float32)
        Image.fromarray(mixed.round().astype(np.uint8)).save(out / "overlays" / file.name)
        Image.fromarray(labels).save(out / "ids" / file.name)


def folder_with(overlays: bool) -> Callable[[Predictor, Path, Path], None]:
    def run(model: Predictor, images: Path, out: Path) -> None:
        prediction.load = lambda _: model
        predict_folder(Path("run"), str(images), out, overlays=overlays, console=Console(quiet=True))

    return run


WAYS = {
    "one after the other": one_after_the_other,
    "with overlays": folder_with(overlays=True),
    "without overlays": folder_with(overlays=False),
}


def same_ids(one: Path, other: Path) -> bool:
    files = sorted(path.name for path in one.iterdir())
    return files == sorted(path.name for path in other.iterdir()) and all(
        np.array_equal(np.asarray(Image.open(one / name)), np.asarray(Image.open(other / name))) for name in files
    )


def measure(folder: Path, images: int, parts: int, size: tuple[int, int]) -> tuple[dict[str, list[float]], bool]:
    """Seconds of each way for each part of the images, and whether all ids are the same."""
    model, seconds, same = predictor(), {name: [] for name in WAYS}, True
    for part in range(parts + 1):
        source = folder / f"images{part}"
        write_images(source, max(1, images // parts) if part else 2, size)
        for name, way in WAYS.items():
            started = time.monotonic()
            way(model, source, folder / name / str(part))
            if part:  # the first warms up
                seconds[name].append(time.monotonic() - started)
        first, *others = (folder / name / str(part) / "ids" for name in WAYS)
        same &= all(same_ids(first, other) for other in others)
    return seconds, same


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(2048, 1024), help="width, height")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        seconds, same = measure(Path(folder), options.images, options.parts, tuple(options.size))
    count = max(1, options.images // options.parts)
    size = "x".join(map(str, options.size))
    print(f"{count * options.parts} PNG of {size}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"{torch.get_num_threads()} torch threads\n\n| way | images/s | ratio | wanted |\n|---|---:|---:|---:|")
    reference, missed = np.array(seconds["one after the other"]), not same
    for name, times in seconds.items():
        ratio = float(np.median(reference / np.array(times)))
        print(f"| {name} | {count / np.median(times):.2f} | {ratio:.2f} | {WANTED.get(name, '')} |")
        missed |= ratio < WANTED.get(name, 0)
    print(f"\nids identical: {'yes' if same else 'NO'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
