"""Scenes of the built-in world as images: geometry once per place, appearance once per domain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minorkey.errors import DataError, unknown
from minorkey.world.domains import DOMAINS, Domain
from minorkey.world.gbuffer import GBuffer, rasterise
from minorkey.world.layout import build
from minorkey.world.places import LAYOUTS
from minorkey.world.sensor import develop
from minorkey.world.shading import shade, thermal
from minorkey.world.textures import Appearance, dress

SMALLEST = (64, 32)
APPEARANCE_STREAM = 100


@dataclass(frozen=True)
class Rendered:
    """One street scene in one domain; readers make a `Sample` of it."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    domain: str
    key: str  # of the scene, in every domain
    labels: np.ndarray  # (H, W) uint8, train ids of Cityscapes
    depth: np.ndarray  # (H, W) float32 metres along the viewing axis; inf in the sky
    boxes: np.ndarray  # (N, 4) float32, x0 y0 x1 y1 in pixels, x1 and y1 exclusive
    box_classes: np.ndarray  # (N,) int64, places in `DETECTION_CLASSES`


def render(seed: int, index: int, domain: str = "clear", size: tuple[int, int] = (256, 128)) -> Rendered:
    """One street scene.

    Geometry, labels, depth and boxes depend on (seed, index) and the domain's layout only, so that all
    domains of one layout are pixel-paired. The same arguments give the same bytes in any process.

    Args:
        seed: names a world, 0 or more.
        index: names a sample of it, 0 or more.
        domain: a key of `DOMAINS`.
        size: (width, height) in pixels, even, at least 64 x 32.

    Returns:
        The image with all annotations.

    Raises:
        DataError: the domain is unknown, or seed, index or size is out of range.
    """
    return render_paired(seed, index, (domain,), size)[0]


def render_paired(seed: int, index: int, domains: Sequence[str], size: tuple[int, int] = (256, 128)) -> list[Rendered]:
    """The same scene in several domains, in their order; the geometry is computed once per layout.

    Raises:
        DataError: as `render`.
    """
    _check(seed, index, domains, size)
    geometry: dict[str, tuple[GBuffer, Appearance]] = {}
    samples = []
    for name in domains:
        domain = DOMAINS[name]
        if domain.layout not in geometry:
            g = rasterise(build(seed, index, LAYOUTS[domain.layout]), size)
            geometry[domain.layout] = g, dress(g)
        g, look = geometry[domain.layout]
        stream = APPEARANCE_STREAM + list(DOMAINS).index(name)
        image = _image(g, look, domain, np.random.default_rng([seed, index, stream]))
        samples.append(_rendered(g, image, name, f"{seed}-{index:06d}"))
    return samples


def _check(seed: int, index: int, domains: Sequence[str], size: tuple[int, int]) -> None:
    for name in domains:
        if name not in DOMAINS:
            raise DataError(unknown("domain", name, DOMAINS))
    if seed < 0 or index < 0:
        raise DataError(f"seed {seed} and index {index} of the built-in world must be 0 or more")
    width, height = size
    if width % 2 or height % 2 or width < SMALLEST[0] or height < SMALLEST[1]:
        raise DataError(
            f"size {width}x{height} of the built-in world: width and height must be even and at least "
            f"{SMALLEST[0]}x{SMALLEST[1]}, e.g. 256x128"
        )


def _image(g: GBuffer, look: Appearance, domain: Domain, rng: np.random.Generator) -> np.ndarray:
    light = thermal(g, look) if domain.thermal else shade(g, look, domain)
    return develop(light, g.camera.size, domain, rng)


def _rendered(g: GBuffer, image: np.ndarray, domain: str, key: str) -> Rendered:
    return Rendered(
        image=image,
        domain=domain,
        key=key,
        labels=g.labels,
        depth=g.depth.reshape(g.camera.size[::-1]).copy(),
        boxes=g.boxes.copy(),
        box_classes=g.box_classes.copy(),
    )
