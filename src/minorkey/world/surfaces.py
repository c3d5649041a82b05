"""What the renderer knows about each pixel beside its class: surface, orientation, object and distance."""

from dataclasses import dataclass

import numpy as np

from minorkey.world.gbuffer import GBuffer
from minorkey.world.meshes import FIXED_COLOURS, OWN_COLOURS
from minorkey.world.scene import Polygons

GROUND_SLOT = OWN_COLOURS + len(FIXED_COLOURS)
SKY_SLOT = GROUND_SLOT + 1


@dataclass(frozen=True)
class SurfaceMaps:
    """Geometry of a scene, the same in every domain of its layout; no semantic class is in it."""

    material: np.ndarray  # (H, W) uint8, `Material`; the sky is PLAIN
    slot: (
        np.ndarray
    )  # (H, W) uint8 colour of the object: 0 to 3 its own, 4 to 11 fixed (tyres, panes, ...), ground, sky
    normal: np.ndarray  # (H, W, 3) float32 unit vector x right, y up, z ahead, towards the camera; 0 in the sky
    thing: np.ndarray  # (H, W) int32: 0 the sky, 1 and more the strips of the ground, then objects, a rider apart
    part: np.ndarray  # (H, W) uint8, 1 on the second part of an object
    extent: np.ndarray  # (H, W, 2) float32 metres, height and horizontal diagonal of the object; 0 on ground and sky
    depth: np.ndarray  # (H, W) float32 metres along the viewing axis; inf in the sky


def surface_maps(g: GBuffer) -> SurfaceMaps:
    """The maps of a rasterised scene."""
    s, p, strips = g.surfaces, g.scene.polygons, len(g.scene.road.train_id)
    ground = np.arange(1, 1 + strips)
    thing = np.concatenate([[0], ground, 1 + strips + 2 * p.thing + p.part])
    slot = np.concatenate([[SKY_SLOT], np.full(strips, GROUND_SLOT), p.slot])
    flat = np.zeros(1 + strips)
    part = np.concatenate([flat, p.part])
    extents = [np.concatenate([flat, side]) for side in _extents(p)]
    return SurfaceMaps(
        material=g.image(g.spread(s.material)),
        slot=g.image(g.spread(slot.astype(np.uint8))),
        normal=np.stack([g.image(g.spread(axis)) for axis in s.normal], -1),
        thing=g.image(g.spread(thing.astype(np.int32))),
        part=g.image(g.spread(part.astype(np.uint8))),
        extent=np.stack([g.image(g.spread(side.astype(np.float32))) for side in extents], -1),
        depth=g.depth.copy(),
    )


def _extents(polygons: Polygons) -> tuple[np.ndarray, np.ndarray]:
    """Height and horizontal diagonal, (P,) each, of the object that a polygon is of."""
    starts = np.flatnonzero(np.diff(polygons.thing, prepend=-1))
    number = np.cumsum(np.diff(polygons.thing, prepend=-1) != 0) - 1
    low = np.minimum.reduceat(polygons.points.min(1), starts)
    high = np.maximum.reduceat(polygons.points.max(1), starts)
    across, up, along = (high - low)[number].T
    return up, np.hypot(across, along)
