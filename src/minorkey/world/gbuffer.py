"""From polygons to per-pixel geometry: which surface, how far, where in the world, which instance.

The camera has no rotation; a turned or tilted view is a shifted lens (`Scene.vanishing`). A plane's
inverse depth is affine in pixel coordinates, so one painted image of polygon numbers and one row of three
coefficients per polygon give exact depth everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from minorkey.world.classes import BOX_CLASS, Train
from minorkey.world.scene import Polygons, Road, Scene

FOCAL = 1.1
"""Focal length in image widths: a horizontal field of view of 49 degrees, as the cameras of Cityscapes have."""

GROUND_END = 400.0
NEAR = 0.5
SMALL = 1.5
"""Pixels; polygons with a smaller bounding box are not drawn."""

TINY = 8
"""Fewest visible pixels for which an instance gets a box."""

_BOX_LOOKUP = np.full(256, -1)
_BOX_LOOKUP[list(BOX_CLASS)] = list(BOX_CLASS.values())


def gather(table: np.ndarray, row: np.ndarray) -> np.ndarray:
    """`table[..., row]` for rows known to be in range, without the cost of checking each."""
    return np.take(table, row, -1, mode="clip")


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at (0, height, 0) looking along z."""

    size: tuple[int, int]  # width, height in pixels
    focal: float  # pixels
    centre: tuple[float, float]  # pixels
    height: float  # metres above ground

    @staticmethod
    def of(scene: Scene, size: tuple[int, int]) -> "Camera":
        """The camera of a scene for an image of `size`."""
        centre = (scene.vanishing[0] * size[0], scene.vanishing[1] * size[1])
        return Camera(size, FOCAL * size[0], centre, scene.camera_height)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (2, ...) of points (3, ...) ahead of the camera."""
        x, y, z = points
        scale = self.focal / z
        return np.stack([self.centre[0] + x * scale, self.centre[1] + (self.height - y) * scale])


@dataclass(frozen=True)
class Surfaces:
    """Tables of the visible polygons and the strips of the ground; row 0 is the sky. R rows."""

    train_id: np.ndarray  # (R,) uint8
    material: np.ndarray  # (R,) uint8
    colour: np.ndarray  # (R, 3) float32
    glow: np.ndarray  # (R,) float32
    heat: np.ndarray  # (R,) float32
    instance: np.ndarray  # (R,) -1 where none
    normal: np.ndarray  # (R, 3) float32, towards the camera
    origin: np.ndarray  # (R, 3) float32, a corner: textures are anchored there
    inverse_depth: np.ndarray  # (5, R) float32: a, b, c of a + b x + c y, and its bounds


@dataclass(frozen=True)
class GBuffer:
    """Per-pixel geometry, flattened; N = width x height."""

    scene: Scene
    camera: Camera
    surfaces: Surfaces
    row: np.ndarray  # (N,) row of `surfaces`
    depth: np.ndarray  # (N,) float32 metres along z; inf in the sky
    place: np.ndarray  # (3, N) float32 world x, y, z in metres; a direction scaled to 1000 m in the sky
    lateral: np.ndarray  # (N,) float32 position across the road
    shadow: np.ndarray  # (N,) float32, 1 where the sun does not reach the ground
    boxes: np.ndarray  # (B, 4) float32
    box_classes: np.ndarray  # (B,) int64

    @property
    def labels(self) -> np.ndarray:
        """(height, width) uint8 train ids."""
        return gather(self.surfaces.train_id, self.row).reshape(self.camera.size[::-1])


def rasterise(scene: Scene, size: tuple[int, int]) -> GBuffer:
    """The geometry of a scene as seen in an image of `size` (width, height)."""
    camera = Camera.of(scene, size)
    polygons = scene.polygons
    points = np.ascontiguousarray(polygons.points.transpose(2, 1, 0))
    np.maximum(points[2], NEAR, out=points[2])
    pixels = camera.project(points)
    normal = _normals(points)
    facing = (normal * (points[:, 0] - np.array([[0], [camera.height], [0]], np.float32))).sum(0)
    normal *= np.where(polygons.sheet & (facing > 0), np.float32(-1), np.float32(1))
    order = _visible_far_to_near(polygons, points, pixels, facing, size)
    points, normal, corners = points[..., order], normal[:, order], polygons.corners[order]
    surfaces = _surfaces(scene, camera, order, points, normal)
    strips = len(scene.road.train_id)
    row = _paint(pixels[..., order], corners, strips, camera)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)))
    ground = np.flatnonzero(row == 1)
    a, b, c, low, high = gather(surfaces.inverse_depth, row)
    z = 1 / np.clip(a + b * x + c * y, low, high)
    place = np.stack(
        [
            (x - camera.centre[0]) / camera.focal * z,
            camera.height - (y - camera.centre[1]) / camera.focal * z,
            z,
        ]
    )
    lateral = place[0] - (scene.road.centre + scene.road.bend * z * z).astype(np.float32)
    row[ground] = 1 + _strip(scene.road, lateral[ground], z[ground])
    boxes, box_classes = _boxes(surfaces, row, size)
    shadow = _shadow(scene, camera, points, corners, row)
    depth = np.where(row == 0, np.float32(np.inf), z)
    return GBuffer(scene, camera, surfaces, row, depth, place, lateral, shadow, boxes, box_classes)


def _normals(points: np.ndarray) -> np.ndarray:
    """Unit normals (3, P) of polygons (3, K, P) by Newell's method, which repeated corners do not disturb."""
    x, y, z = points
    after_x, after_y, after_z = np.concatenate([points[:, 1:], points[:, :1]], 1)
    total = np.stack(
        [
            (y * after_z - after_y * z).sum(0),
            (z * after_x - after_z * x).sum(0),
            (x * after_y - after_x * y).sum(0),
        ]
    )
    return total / np.maximum(np.sqrt(np.square(total).sum(0)), 1e-9)


def _visible_far_to_near(
    polygons: Polygons, points: np.ndarray, pixels: np.ndarray, facing: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Polygons that can show, layer by layer, far to near by the nearest corner of their body."""
    (left, top), (right, bottom) = pixels.min(1), pixels.max(1)
    keep = (right > 0) & (left < size[0]) & (bottom > 0) & (top < size[1])
    keep &= ((right - left) * (bottom - top) > SMALL) & (polygons.sheet | (facing < 0)) & (points[2].max(0) > NEAR)
    distance = (np.square(points[0]) + np.square(points[2])).min(0)
    solid = 2 * polygons.thing + polygons.body
    first = np.diff(solid, prepend=-1) != 0
    nearest = np.minimum.reduceat(distance, np.flatnonzero(first))[np.cumsum(first) - 1]
    kept = np.flatnonzero(keep)
    return kept[np.lexsort((kept, -nearest[kept], polygons.layer[kept]))]


def _surfaces(scene: Scene, camera: Camera, order: np.ndarray, points: np.ndarray, normal: np.ndarray) -> Surfaces:
    p, road = scene.polygons, scene.road
    strips = len(road.train_id)

    def table(sky: float, ground: np.ndarray | float, values: np.ndarray) -> np.ndarray:
        ground = np.broadcast_to(ground, (strips, *values.shape[1:]))
        return np.concatenate([np.full((1, *values.shape[1:]), sky), ground, values]).astype(values.dtype)

    box_class = _BOX_LOOKUP[p.train_id[order]]
    instance = np.where(box_class >= 0, p.thing[order] * 2 + p.part[order], -1)
    up = np.array([0, 1, 0], np.float32)
    return Surfaces(
        train_id=table(Train.SKY, road.train_id, p.train_id[order]),
        material=table(0, road.material, p.material[order]),
        colour=table(0.5, road.colour, p.colour[order]),
        glow=table(0, 0, p.glow[order]),
        heat=table(0, 0.18, p.heat[order]),
        instance=table(-1, -1, instance),
        normal=table(0, up, normal.T),
        origin=table(0, 0, points[:, 0].T),
        inverse_depth=_inverse_depth(camera, strips, points, normal),
    )


def _inverse_depth(camera: Camera, strips: int, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(5, R): 1/z = (n . ray) / (n . p), ray = ((x - cx)/f, (cy - y)/f, 1); constant where seen edge on."""
    up = np.repeat(np.array([[0], [1], [0]], np.float32), strips, 1)
    n = np.concatenate([up, normal], 1)
    at = np.concatenate([0 * up, points[:, 0]], 1) - np.array([[0], [camera.height], [0]], np.float32)
    offset = (n * at).sum(0)
    edge_on = np.abs(offset) < 1e-3
    n = n / np.where(edge_on, 1, offset)
    b, c = n[0] / camera.focal, -n[1] / camera.focal
    a = n[2] - b * camera.centre[0] - c * camera.centre[1]
    z = points[2]
    low = np.concatenate([np.full(strips, 1 / GROUND_END), 1 / z.max(0)])
    high = np.concatenate([np.full(strips, 1 / NEAR), 1 / z.min(0)])
    middle = (low + high) / 2
    rows = np.stack([np.where(edge_on, middle, a), np.where(edge_on, 0, b), np.where(edge_on, 0, c), low, high])
    sky = np.array([1e-3, 0, 0, 1e-3, 1e-3])[:, None]
    return np.concatenate([sky, rows], 1).astype(np.float32)


def _paint(pixels: np.ndarray, corners: np.ndarray, strips: int, camera: Camera) -> np.ndarray:
    """Row numbers (N,): the ground, then every polygon in turn over what is behind it."""
    width, height = camera.size
    image = Image.new("I", camera.size)
    draw = ImageDraw.Draw(image)
    horizon = camera.centre[1] + camera.height * camera.focal / GROUND_END
    draw.rectangle((0, int(np.ceil(horizon)), width, height), fill=1)
    for number, outline in enumerate(_outlines(pixels, corners), 1 + strips):
        draw.polygon(outline, fill=number)
    return np.array(image).ravel().astype(np.intp)


def _outlines(pixels: np.ndarray, corners: np.ndarray) -> Iterator[list[float]]:
    """Pixels (2, K, P) as P lists x0, y0, x1, y1 ... for Pillow, kept in the range of its integers."""
    ordered = np.clip(pixels, -9999, 9999).transpose(2, 1, 0)
    flat = ordered.reshape(len(corners), 2 * pixels.shape[1]).tolist()  # not -1: there may be none
    return (outline[:end] for outline, end in zip(flat, (2 * corners).tolist(), strict=True))


def _strip(road: Road, lateral: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Which strip of the ground a point lies on; the side street continues the carriageway."""
    strip = np.searchsorted(road.edges.astype(np.float32), lateral)
    crossing = (z > road.side_street[0]) & (z < road.side_street[1])
    return np.where(crossing, road.carriageway, strip)


def _boxes(surfaces: Surfaces, row: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Extents of the visible pixels of each instance."""
    instance, first = np.unique(surfaces.instance, return_index=True)
    number = np.searchsorted(instance, surfaces.instance)[row]
    pixels = np.bincount(number, minlength=len(instance))
    found = ndimage.find_objects(number.reshape(size[::-1]))
    boxes, classes = [], []
    for i, place in enumerate(found, 1):
        if place is not None and pixels[i] >= TINY:
            boxes.append((place[1].start, place[0].start, place[1].stop, place[0].stop))
            classes.append(_BOX_LOOKUP[surfaces.train_id[first[i]]])
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64)


def _shadow(scene: Scene, camera: Camera, points: np.ndarray, corners: np.ndarray, row: np.ndarray) -> np.ndarray:
    """1 on the ground where a polygon stands between it and the sun: polygons slid down the sun's rays."""
    sun = scene.sun / max(float(scene.sun[1]), 0.2)
    x, y, z = points
    cast = np.stack([x - y * sun[0], np.zeros_like(y), np.maximum(z - y * sun[2], 2 * NEAR)])
    pixels = camera.project(cast)
    (left, top), (right, bottom) = pixels.min(1), pixels.max(1)
    keep = (right > 0) & (left < camera.size[0]) & (bottom > 0) & (top < camera.size[1])
    keep &= ((right - left) * (bottom - top) > 10) & (z.min(0) < 90)
    image = Image.new("L", camera.size)
    draw = ImageDraw.Draw(image)
    for outline in _outlines(pixels[..., keep], corners[keep]):
        draw.polygon(outline, fill=1)
    ground = (row >= 1) & (row <= len(scene.road.train_id))
    return np.asarray(image, np.float32).ravel() * ground
