"""The samples of the pretraining: one scene of the built-in world, seen in two domains.

Sample `i` is a pure function of `(seed, i)`, whichever process makes it, so that a run can be repeated and
resumed. Classes are never read: what a surface is made of is, as a modeller would know it, and how large its object.
"""

import numpy as np
import torch
from PIL import Image
from pretraining.objective import STRIDE, Targets
from scipy import ndimage
from torch.utils.data import Dataset

from minorkey.world import DOMAINS
from minorkey.world.classes import Material
from minorkey.world.render import render_with_surfaces
from minorkey.world.scene import catalogue
from minorkey.world.surfaces import GROUND_SLOT, SKY_SLOT, SurfaceMaps

HELD_OUT = ("infrared", "elsewhere")
"""Domains that the pretraining never sees; nor any other in the suburb."""

SEEN = tuple(name for name, domain in DOMAINS.items() if domain.layout == "town" and name not in HELD_OUT)

WORLD_SEED = 1_000_003
"""Added to the run's seed: far from the small seeds that training and evaluation draw their scenes from."""

SIZE = (256, 128)  # width, height of frames and of views

FAR = 80.0  # metres; sets the scale of the inverse depth

SLOTS = 16
"""More than the colour slots of objects, ground and sky."""


def kinds() -> np.ndarray:
    """Kinds of surface that are told apart, ascending: `material * SLOTS + slot` wherever the world has both."""
    objects, ground = catalogue(), (Material.ASPHALT, Material.PAVING, Material.GRASS)
    slots = np.unique(objects.material.astype(np.int64) * SLOTS + objects.slot)
    others = [Material.PLAIN * SLOTS + SKY_SLOT, *(material * SLOTS + GROUND_SLOT for material in ground)]
    return np.union1d(slots, others)


KINDS = kinds()


class PairedViews(Dataset):
    """Scenes `start` to `stop - 1`, each as two augmented views of one crop and the targets of both."""

    def __init__(self, seed: int, start: int, stop: int) -> None:
        self.seed, self.start, self.stop = seed, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, position: int) -> tuple[torch.Tensor, Targets]:
        """Views `(2, 3, H, W)` in [-1, 1], and targets without the leading dimension of the batch."""
        index = self.start + position
        rng = np.random.default_rng((self.seed, index))
        chosen = [str(domain) for domain in rng.choice(SEEN, size=2, replace=False)]
        names = list(dict.fromkeys(["clear", *chosen]))
        scenes, surfaces = render_with_surfaces(WORLD_SEED + self.seed, index, names, SIZE)
        images = {name: scene.image for name, scene in zip(names, scenes, strict=True)}
        crop = Crop(rng)
        views = np.stack([disturb(unit(crop.image(images[name])), rng) for name in chosen])
        return torch.from_numpy(views), targets_of(crop, surfaces, unit(crop.image(images["clear"])))


class Crop:
    """A part of the frame, at least 0.6 of its width and height, brought to its size and perhaps mirrored."""

    def __init__(self, rng: np.random.Generator) -> None:
        width, height = (round(side * zoom) for zoom in [rng.uniform(0.6, 1.0)] for side in SIZE)
        left, top = (int(rng.integers(whole - part + 1)) for whole, part in zip(SIZE, (width, height), strict=True))
        self.box = (left, top, left + width, top + height)
        self.mirrored = rng.random() < 0.5
        columns, rows = (
            start + ((np.arange(side) + 0.5) * part / side).astype(np.int64)
            for start, part, side in zip((left, top), (width, height), SIZE, strict=True)
        )
        self._rows, self._columns = rows, columns[::-1] if self.mirrored else columns

    def image(self, image: np.ndarray) -> np.ndarray:
        """The crop of an image, (H, W, 3) uint8."""
        part = np.asarray(Image.fromarray(image).resize(SIZE, Image.Resampling.BILINEAR, box=self.box))
        return part[:, ::-1] if self.mirrored else part

    def map(self, values: np.ndarray, every: int = 1) -> np.ndarray:
        """The nearest values of a map (H, W, ...); of one pixel in the middle of every cell of `every` pixels."""
        return values[np.ix_(self._rows[every // 2 :: every], self._columns[every // 2 :: every])]


def targets_of(crop: Crop, surfaces: SurfaceMaps, clear: np.ndarray) -> Targets:
    """What is asked for in a crop, given its appearance in clear weather, (3, H, W)."""
    normal = crop.map(surfaces.normal, STRIDE) * np.array([-1 if crop.mirrored else 1, 1, 1], np.float32)
    extent, things = crop.map(surfaces.extent, STRIDE), cells(crop.map(surfaces.thing))
    kind = np.searchsorted(KINDS, crop.map(surfaces.material).astype(np.int64) * SLOTS + crop.map(surfaces.slot))
    targets = Targets(
        kinds=counts(cells(kind), len(KINDS)),
        part=crop.map(surfaces.part, STRIDE)[None],
        extent=np.where(extent > 0, np.log(np.maximum(extent, 0.05)), np.nan).transpose(2, 0, 1),
        normal=normal.transpose(2, 0, 1),
        inverse_depth=inverse_depth(crop.map(surfaces.depth, STRIDE))[None],
        clear=cells(clear.transpose(1, 2, 0)).mean(2).transpose(2, 0, 1),
        border=(things.min(2) != things.max(2))[None],
    )
    dtypes = Targets(np.uint8, *[np.float32] * 6)
    return Targets(*(torch.from_numpy(np.ascontiguousarray(t, d)) for t, d in zip(targets, dtypes, strict=True)))


def cells(values: np.ndarray) -> np.ndarray:
    """A map (H, W, ...) as (h, w, STRIDE * STRIDE, ...)."""
    height, width = (side // STRIDE for side in values.shape[:2])
    parts = values.reshape(height, STRIDE, width, STRIDE, *values.shape[2:]).swapaxes(1, 2)
    return parts.reshape(height, width, STRIDE**2, *values.shape[2:])


def counts(numbers: np.ndarray, most: int) -> np.ndarray:
    """How many of the P numbers (h, w, P) of each cell are 0, 1, ... `most` - 1, as (most, h, w)."""
    height, width, pixels = numbers.shape
    place = np.arange(height * width)[:, None] * most + numbers.reshape(-1, pixels)
    found = np.bincount(place.ravel(), minlength=height * width * most)
    return found.reshape(height, width, most).transpose(2, 0, 1)


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """Depth `(H, W)` in metres to `log(1 + 80 m / depth)`, scaled to about [-1, 1]; the sky is -1."""
    disparity = np.log1p(FAR / np.maximum(depth, 1.0))
    return (disparity * (2 / np.log1p(FAR)) - 1).astype(np.float32)


def unit(image: np.ndarray) -> np.ndarray:
    """RGB image to `(3, H, W)` float32 in [-1, 1]."""
    return image.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1


def disturb(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random colours, tones, sharpness and noise, far beyond what any domain has: no domain is imitated.

    Saturation (now and then none), permuted channels, negatives, solarisation, gamma, contrast, gain and offset of each
    channel, blur and noise, as is usual where a network shall not rely on colour.
    """
    grey = image.mean(0, keepdims=True)
    image = grey + (0.0 if rng.random() < 0.2 else rng.uniform(0.4, 1.6)) * (image - grey)
    if rng.random() < 0.2:
        image = image[rng.permutation(3)]
    if rng.random() < 0.2:
        image = -image
    if rng.random() < 0.15:
        threshold = rng.uniform(-0.3, 0.8)
        image = np.where(image > threshold, 2 * threshold - image, image)
    image = 2 * ((image.clip(-1, 1) + 1) / 2) ** np.exp(rng.uniform(-0.6, 0.6)) - 1
    gain = rng.uniform(0.6, 1.4) * rng.uniform(0.85, 1.15, size=(3, 1, 1))
    offset = rng.uniform(-0.3, 0.3) + rng.uniform(-0.08, 0.08, size=(3, 1, 1))
    image = ((image - image.mean()) * gain + image.mean() + offset).astype(np.float32)
    if rng.random() < 0.3:
        image = ndimage.uniform_filter(image, (1, 3, 3))
    image += rng.uniform(0, 0.1) * rng.standard_normal(image.shape, dtype=np.float32)
    return image.clip(-1, 1)
