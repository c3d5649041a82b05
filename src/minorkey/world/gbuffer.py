"""From polygons to per-pixel geometry: which surface, how far, where in the world, which instance.

The camera has no rotation; a turned or tilted view is a shifted lens (`Scene.vanishing`). A plane's
inverse depth is affine in pixel coordinates, so one painted image of polygon numbers and one row of three
coefficients per polygon give exact depth everywhere.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw

from minorkey.world.classes import BOX_CLASS, Material, Train
from minorkey.world.runs import Runs
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

GROUND_MATERIALS = (Material.ASPHALT, Material.PAVING, Material.GRASS)
"""Of the strips of the ground, and of nothing else; neighbours in `Material`."""


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
    """Tables of what an image can show: the sky (row 0), the strips of the ground, the polygons. R rows."""

    train_id: np.ndarray  # (R,) uint8
    material: np.ndarray  # (R,) uint8
    colour: np.ndarray  # (3, R) float32
    glow: np.ndarray  # (R,) float32
    heat: np.ndarray  # (R,) float32
    instance: np.ndarray  # (R,) -1 where none
    normal: np.ndarray  # (3, R) float32, towards the camera
    origin: np.ndarray  # (3, R) float32, a corner: textures are anchored there
    inverse_depth: np.ndarray  # (5, R) float32: a, b, c of a + b x + c y, and its bounds


@dataclass(frozen=True)
class GBuffer:
    """Per-pixel geometry; N = width x height.

    Pixels are kept by kind, not by place: the sky first, then the ground, then what stands on it, one material
    after the other, so that a texture or a light treats a slice. `order` leads back to the image.
    """

    scene: Scene
    camera: Camera
    surfaces: Surfaces
    painted: np.ndarray  # polygons that can be seen, far to near
    runs: Runs
    order: np.ndarray  # (N,) number of each pixel, counted line by line
    place: np.ndarray  # (3, N) float32 world x, y, z in metres; a direction scaled to 1000 m in the sky
    run_ends: np.ndarray  # where the runs of the sky, and of each `Material`, end
    ends: np.ndarray  # where their pixels end
    boxes: np.ndarray  # (B, 4) float32
    box_classes: np.ndarray  # (B,) int64

    def of(self, material: int) -> slice:
        """The pixels of a material, but for the sky."""
        return slice(self.ends[material], self.ends[material + 1])

    @property
    def sky(self) -> slice:
        """The pixels of the sky."""
        return slice(0, self.ends[0])

    @property
    def ground(self) -> slice:
        """The pixels of the ground; what stands on it with a texture comes after."""
        return slice(self.ends[GROUND_MATERIALS[0]], self.ends[GROUND_MATERIALS[-1] + 1])

    def spread(self, table: np.ndarray) -> np.ndarray:
        """One value per surface (R,) to one per pixel (N,)."""
        return self.runs.spread(table[self.runs.row])

    def image(self, values: np.ndarray) -> np.ndarray:
        """Values of the pixels (N, ...) at their places: (height, width, ...)."""
        placed = np.empty_like(values)
        placed[self.order] = values
        return placed.reshape(*self.camera.size[::-1], *values.shape[1:])

    @cached_property
    def labels(self) -> np.ndarray:
        """(height, width) uint8 train ids."""
        return self.image(self.spread(self.surfaces.train_id))

    @cached_property
    def depth(self) -> np.ndarray:
        """(height, width) float32 metres along z; inf in the sky."""
        z = self.place[2].copy()
        z[self.sky] = np.inf
        return self.image(z)

    @cached_property
    def lateral(self) -> np.ndarray:
        """Position of the pixels of the ground across the road, in metres."""
        x, _, z = self.place[:, self.ground]
        return x - (z * z * np.float32(self.scene.road.bend) + np.float32(self.scene.road.centre))

    @cached_property
    def shadow(self) -> np.ndarray:
        """1 at pixels of the ground that the sun does not reach, else 0; float32."""
        return _shadow(self).ravel()[self.order[self.ground]].astype(np.float32)


def rasterise(scene: Scene, size: tuple[int, int]) -> GBuffer:
    """The geometry of a scene as seen in an image of `size` (width, height)."""
    camera = Camera.of(scene, size)
    polygons = scene.polygons
    points = polygons.points.transpose(2, 1, 0).copy()
    np.maximum(points[2], NEAR, out=points[2])
    pixels = camera.project(points)
    normal = _normals(points)
    facing = (normal * (points[:, 0] - np.array([[0], [camera.height], [0]], np.float32))).sum(0)
    normal *= np.where(polygons.sheet & (facing > 0), np.float32(-1), np.float32(1))
    painted = _visible_far_to_near(polygons, points, pixels, facing, size)
    surfaces = _surfaces(scene, camera, points, normal)
    image = Image.fromarray(_ground(scene.road, camera))
    paint(image, pixels[..., painted], polygons.corners[painted], painted + 1 + len(scene.road.train_id))
    lines = Runs.of(np.asarray(image))
    kind = np.where(lines.row == 0, 0, surfaces.material[lines.row] + 1)
    runs = lines.sorted_by(kind.astype(np.uint8))
    run_ends = np.cumsum(np.bincount(kind, minlength=len(Material) + 1))
    ends = np.concatenate([[0], np.cumsum(runs.length)])[run_ends]
    order, place = _places(camera, surfaces, runs)
    boxes, box_classes = _boxes(surfaces, lines, size[0])
    return GBuffer(scene, camera, surfaces, painted, runs, order, place, run_ends, ends, boxes, box_classes)


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


def _surfaces(scene: Scene, camera: Camera, points: np.ndarray, normal: np.ndarray) -> Surfaces:
    p, road = scene.polygons, scene.road
    strips = len(road.train_id)

    def table(sky: float, ground: np.ndarray | float, values: np.ndarray) -> np.ndarray:
        rows = np.empty((*values.shape[:-1], 1 + strips + values.shape[-1]), values.dtype)
        rows[..., 0], rows[..., 1 : 1 + strips], rows[..., 1 + strips :] = sky, ground, values
        return rows

    up = np.array([[0], [1], [0]], np.float32)
    return Surfaces(
        train_id=table(Train.SKY, road.train_id, p.train_id),
        material=table(0, road.material, p.material),
        colour=table(0.5, road.colour.T, p.colour.T),
        glow=table(0, 0, p.glow),
        heat=table(0, 0.18, p.heat),
        instance=table(-1, -1, np.where(_BOX_LOOKUP[p.train_id] >= 0, p.thing * 2 + p.part, -1)),
        normal=table(0, up, normal),
        origin=table(0, 0, points[:, 0]),
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


def _ground(road: Road, camera: Camera) -> np.ndarray:
    """(height, width) int32: 0 for the sky, 1 and more for the strips; the side street continues the carriageway."""
    width, height = camera.size
    top = int(np.ceil(camera.centre[1] + camera.height * camera.focal / GROUND_END))
    z = camera.height * camera.focal / (np.arange(top, height)[:, None] - camera.centre[1])
    borders = (camera.centre[0] + road.x(road.edges, z) * camera.focal / z).astype(np.float32)
    strip = np.ones((height - top, width), np.uint8)
    x = np.arange(width, dtype=np.float32)
    for border in borders.T:
        strip += x > border[:, None]
    crossing = (z > road.side_street[0]) & (z < road.side_street[1])
    strip[crossing[:, 0]] = 1 + road.carriageway
    rows = np.zeros((height, width), np.int32)
    rows[top:] = strip
    return rows


def paint(image: Image.Image, pixels: np.ndarray, corners: np.ndarray, values: np.ndarray) -> None:
    """Draw polygons (2, K, P), each in its value (P,), one over the other.

    Pillow's drawing core is called without the checks of `ImageDraw.polygon`, which take longer than the drawing.
    """
    core = ImageDraw.Draw(image).draw
    # Kept in the range of Pillow's integers; as bytes, since it reads a buffer of float32 faster than a list.
    outlines = np.clip(pixels, -9999, 9999).transpose(2, 1, 0).astype(np.float32).tobytes()
    step = 8 * pixels.shape[1]
    ends = np.arange(len(corners)) * step + 8 * corners
    for start, end, value in zip(range(0, len(outlines), step), ends.tolist(), values.tolist(), strict=True):
        core.draw_polygon(outlines[start:end], value, 1)


def _places(camera: Camera, surfaces: Surfaces, runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (N,) of the pixels in the order of the runs, and where in the world (3, N) they are."""
    width = camera.size[0]
    y, x = np.divmod(runs.start, width)
    a, b, c, low, high = surfaces.inverse_depth[:, runs.row]
    first = a + b * x.astype(np.float32) + c * y.astype(np.float32)
    last = first + b * (runs.length - 1).astype(np.float32)
    # Inverse depth is affine along a run too: to bound its ends bounds every pixel.
    first, last = np.clip(first, low, high), np.clip(last, low, high)
    slope = (last - first) / np.maximum(runs.length - 1, 1).astype(np.float32)
    before = np.cumsum(runs.length) - runs.length
    step = np.arange(width * camera.size[1])
    order = runs.spread(runs.start - before) + step
    column = runs.spread((x - before).astype(np.float32)) + step.astype(np.float32)
    place = np.empty((3, len(step)), np.float32)
    z = np.reciprocal(runs.spread(first - slope * x.astype(np.float32)) + runs.spread(slope) * column, out=place[2])
    np.multiply((column - np.float32(camera.centre[0])) * np.float32(1 / camera.focal), z, out=place[0])
    down = ((y - camera.centre[1]) / camera.focal).astype(np.float32)
    np.subtract(np.float32(camera.height), runs.spread(down) * z, out=place[1])
    return order, place


def _boxes(surfaces: Surfaces, lines: Runs, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Extents (B, 4) of the visible pixels of each instance, and their classes (B,)."""
    instance = surfaces.instance[lines.row]
    boxed = np.flatnonzero(instance >= 0)
    boxed = boxed[np.argsort(instance[boxed], kind="stable")]
    first = np.flatnonzero(np.diff(instance[boxed], prepend=-1))
    y, x = np.divmod(lines.start[boxed], width)
    length = lines.length[boxed]
    left, top = np.minimum.reduceat(x, first), np.minimum.reduceat(y, first)
    right, bottom = np.maximum.reduceat(x + length, first), np.maximum.reduceat(y, first) + 1
    large = np.add.reduceat(length, first) >= TINY
    boxes = np.stack([left, top, right, bottom], 1).astype(np.float32)
    return boxes[large], _BOX_LOOKUP[surfaces.train_id[lines.row[boxed[first]]]][large]


def _shadow(g: GBuffer) -> np.ndarray:
    """(height, width) 1 where a polygon stands between the ground and the sun, slid down the sun's rays."""
    points, corners = g.scene.polygons.points[g.painted].transpose(2, 1, 0), g.scene.polygons.corners[g.painted]
    sun = g.scene.sun / max(float(g.scene.sun[1]), 0.2)
    x, y, z = points
    cast = np.stack([x - y * sun[0], np.zeros_like(y), np.maximum(z - y * sun[2], 2 * NEAR)])
    pixels = g.camera.project(cast)
    (left, top), (right, bottom) = pixels.min(1), pixels.max(1)
    keep = (right > 0) & (left < g.camera.size[0]) & (bottom > 0) & (top < g.camera.size[1])
    keep &= ((right - left) * (bottom - top) > 12) & (z.min(0) < 80)
    image = Image.new("L", g.camera.size)
    paint(image, pixels[..., keep], corners[keep], np.ones(int(keep.sum()), np.int64))
    return np.asarray(image)
