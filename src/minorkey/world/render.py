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
from minorkey.world.surfaces import SurfaceMaps, surface_maps
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
        layout = DOMAINS[name].layout
        if layout not in geometry:
            geometry[layout] = _dressed(seed, index, layout, size)
        samples.append(_sample(*geometry[layout], seed, index, name))
    return samples


def render_with_surfaces(
    seed: int, index: int, domains: Sequence[str], size: tuple[int, int] = (256, 128)
) -> tuple[list[Rendered], SurfaceMaps]:
    """`render_paired` for domains of one layout, with what is known of each pixel beside its class.

    Raises:
        DataError: as `render`, or there is no domain, or the domains are of two layouts.
    """
    _check(seed, index, domains, size)
    layouts = sorted({DOMAINS[name].layout for name in domains})
    if len(layouts) != 1:
        raise DataError(
            f"surfaces of {len(layouts)} layouts ({', '.join(layouts) or 'no domain given'}): "
            f"give domains that are pixel-paired, e.g. clear and fog"
        )
    g, look = _dressed(seed, index, layouts[0], size)
    return [_sample(g, look, seed, index, name) for name in domains], surface_maps(g)


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


def _dressed(seed: int, index: int, layout: str, size: tuple[int, int]) -> tuple[GBuffer, Appearance]:
    g = rasterise(build(seed, index, LAYOUTS[layout]), size)
    return g, dress(g)


def _sample(g: GBuffer, look: Appearance, seed: int, index: int, domain: str) -> Rendered:
    rng = np.random.default_rng([seed, index, APPEARANCE_STREAM + list(DOMAINS).index(domain)])
    return _rendered(g, _image(g, look, DOMAINS[domain], rng), domain, f"{seed}-{index:06d}")


def _image(g: GBuffer, look: Appearance, domain: Domain, rng: np.random.Generator) -> np.ndarray:
    light = thermal(g, look) if domain.thermal else shade(g, look, domain)
    return develop(light, g.order, g.camera.size, domain, rng)


def _rendered(g: GBuffer, image: np.ndarray, domain: str, key: str) -> Rendered:
    return Rendered(
        image=image,
        domain=domain,
        key=key,
        labels=g.labels.copy(),
        depth=g.depth.copy(),
        boxes=g.boxes.copy(),
        box_classes=g.box_classes.copy(),
    )
