"""The samples of the pretraining: one scene of the built-in world, seen in two domains.

Sample `i` is a pure function of `(seed, i)`, whichever process makes it, so that a run can be repeated and
resumed. Labels are never read.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from minorkey.world import DOMAINS, render_paired

HELD_OUT = ("infrared", "elsewhere")
"""Domains that the pretraining never sees."""

SEEN = tuple(domain for domain in DOMAINS if domain not in HELD_OUT)

WORLD_SEED = 1_000_003
"""Added to the run's seed: far from the small seeds that training and evaluation draw their scenes from."""

FRAME = (256, 128)  # width, height of the rendered frame
SQUARE = (128, 128)  # width, height of the crops that alternate with whole frames

FAR = 80.0  # metres; sets the scale of the inverse depth


class PairedViews(Dataset):
    """`count` scenes, each as two augmented views of one crop and the targets that both must predict.

    Odd batches hold (nearly) whole frames and even ones square crops, so that the position embedding is used
    at both aspect ratios.
    """

    def __init__(self, seed: int, start: int, stop: int, batch_size: int) -> None:
        self.seed, self.start, self.stop, self.batch_size = seed, start, stop, batch_size

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Views `(2, 3, H, W)` and targets `(4, H, W)`, both about in [-1, 1].

        The target's channels are the clear view's red, green and blue, and the scaled inverse depth.
        """
        index = self.start + position
        rng = np.random.default_rng((self.seed, index))
        chosen = [str(domain) for domain in rng.choice(SEEN, size=2, replace=False)]
        names = list(dict.fromkeys(["clear", *chosen]))
        samples = dict(zip(names, render_paired(WORLD_SEED + self.seed, index, names, size=FRAME), strict=True))
        frame = (index // self.batch_size) % 2 == 1
        crop = _random_crop(rng, FRAME if frame else SQUARE)
        clear = samples["clear"]
        depth = np.asarray(crop(Image.fromarray(inverse_depth(clear.depth))))
        target = np.concatenate([_unit(crop(Image.fromarray(clear.image))), depth[None]])
        views = np.stack([_jitter(_unit(crop(Image.fromarray(samples[d].image))), rng) for d in chosen])
        return torch.from_numpy(views), torch.from_numpy(target)


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """Depth `(H, W)` in metres to `log(1 + 80 m / depth)`, scaled to about [-1, 1]; the sky is -1."""
    disparity = np.log1p(FAR / np.maximum(depth, 1.0))
    return (disparity * (2 / np.log1p(FAR)) - 1).astype(np.float32)


def _random_crop(rng: np.random.Generator, size: tuple[int, int]) -> Callable[[Image.Image], Image.Image]:
    """A crop, zoomed by 1 to 1.4 and perhaps mirrored, to be applied alike to every image of one scene."""
    zoom = rng.uniform(0.7, 1.0)
    width, height = size[0] * zoom, size[1] * zoom
    left, top = rng.uniform(0, FRAME[0] - width), rng.uniform(0, FRAME[1] - height)
    box = (left, top, left + width, top + height)
    mirror = rng.random() < 0.5

    def crop(image: Image.Image) -> Image.Image:
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else image

    return crop


def _unit(image: Image.Image) -> np.ndarray:
    """RGB image to `(3, H, W)` float32 in [-1, 1]."""
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1


def _jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gain per channel, contrast, brightness, saturation (now and then none) and noise."""
    grey = image.mean(0, keepdims=True)
    saturation = 0.0 if rng.random() < 0.2 else rng.uniform(0.5, 1.5)
    image = grey + saturation * (image - grey)
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, size=(3, 1, 1))
    image = (image - image.mean()) * gain.astype(np.float32) + (image.mean() + rng.uniform(-0.2, 0.2))
    image += rng.uniform(0, 0.08) * rng.standard_normal(image.shape, dtype=np.float32)
    return image.clip(-1, 1)
