"""A scene as a table of planar polygons: instances of templates, placed, turned, scaled and coloured."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from minorkey.world.meshes import FIXED_COLOURS, OWN_COLOURS, templates
from minorkey.world.shapes import CORNERS


@dataclass(frozen=True)
class Catalogue:
    """All templates, their faces stacked; T templates, F faces."""

    names: tuple[str, ...]
    first: np.ndarray  # (T,) row of the first face of a template
    count: np.ndarray  # (T,) its number of faces
    points: np.ndarray  # (3, CORNERS, F) float32 metres
    corners: np.ndarray  # (F,) how many of them count; the rest repeat the last
    train_id: np.ndarray  # (F,) uint8
    material: np.ndarray  # (F,) uint8
    slot: np.ndarray  # (F,) int64 colour slot
    glow: np.ndarray  # (F,) float32
    heat: np.ndarray  # (F,) float32
    sheet: np.ndarray  # (F,) bool
    part: np.ndarray  # (F,) int64
    body: np.ndarray  # (F,) int64


@cache
def catalogue() -> Catalogue:
    """The templates of `meshes`, stacked once per process; short polygons repeat their last corner."""
    table = templates()
    faces = [face for group in table.values() for face in group]
    count = np.array([len(group) for group in table.values()])
    corners = [np.minimum(np.arange(CORNERS), len(face.points) - 1) for face in faces]
    return Catalogue(
        names=tuple(table),
        first=np.cumsum(count) - count,
        count=count,
        points=np.stack([f.points[c].T for f, c in zip(faces, corners, strict=True)], -1).astype(np.float32),
        corners=np.array([len(f.points) for f in faces]),
        train_id=np.array([f.train_id for f in faces], np.uint8),
        material=np.array([f.material for f in faces], np.uint8),
        slot=np.array([f.slot for f in faces]),
        glow=np.array([f.glow for f in faces], np.float32),
        heat=np.array([f.heat for f in faces], np.float32),
        sheet=np.array([f.sheet for f in faces]),
        part=np.array([f.part for f in faces]),
        body=np.array([f.body for f in faces]),
    )


@dataclass(frozen=True)
class Things:
    """Instances to place; N of them."""

    template: np.ndarray  # (N,) index into the catalogue
    at: np.ndarray  # (N, 3) metres: x right of the camera, y above ground, z ahead
    yaw: np.ndarray  # (N,) radians about y
    scale: np.ndarray  # (N, 3)
    paints: np.ndarray  # (N, 4) rows of `PAINTS`
    layer: np.ndarray  # (N,) a higher layer is never hidden by a lower one

    @staticmethod
    def joined(groups: "list[Things]") -> "Things":
        """All groups in one."""
        return Things(*(np.concatenate([getattr(g, f) for g in groups]) for f in Things.__dataclass_fields__))


@dataclass(frozen=True)
class Polygons:
    """Polygons in the coordinates of the camera's ground point; P of them."""

    points: np.ndarray  # (P, CORNERS, 3) float32 metres
    corners: np.ndarray  # (P,) how many of them count; the rest repeat the last
    thing: np.ndarray  # (P,) instance, ascending
    part: np.ndarray  # (P,) 0 or 1
    body: np.ndarray  # (P,) 0 or 1
    layer: np.ndarray  # (P,)
    slot: np.ndarray  # (P,) colour slot: the instance's own, then `FIXED_COLOURS`
    train_id: np.ndarray  # (P,) uint8
    material: np.ndarray  # (P,) uint8
    colour: np.ndarray  # (P, 3) float32 reflectance
    glow: np.ndarray  # (P,) float32
    heat: np.ndarray  # (P,) float32
    sheet: np.ndarray  # (P,) bool


def assemble(things: Things, colours: np.ndarray) -> Polygons:
    """Turn instances and their colours (N, 4, 3) into polygons, all at once."""
    cat = catalogue()
    count = cat.count[things.template]
    thing = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(thing)) - np.repeat(np.cumsum(count) - count, count)
    face = np.repeat(cat.first[things.template], count) + within
    cos, sin = np.cos(things.yaw), np.sin(things.yaw)
    (sx, sy, sz), (ax, ay, az) = things.scale.T, things.at.T
    turn = np.array([cos * sx, sin * sz, sy, cos * sz, -sin * sx, ax, ay, az], np.float32)[:, thing]
    x, y, z = cat.points.take(face, 2)
    points = np.stack([x * turn[0] + z * turn[1] + turn[5], y * turn[2] + turn[6], z * turn[3] + x * turn[4] + turn[7]])
    slot = cat.slot[face]
    own = colours[thing, np.minimum(slot, OWN_COLOURS - 1)]
    fixed = FIXED_COLOURS[np.maximum(slot - OWN_COLOURS, 0)]
    return Polygons(
        points=points.transpose(2, 1, 0),
        corners=cat.corners[face],
        thing=thing,
        part=cat.part[face],
        body=cat.body[face],
        layer=things.layer[thing],
        slot=slot,
        train_id=cat.train_id[face],
        material=cat.material[face],
        colour=np.where((slot < OWN_COLOURS)[:, None], own, fixed).astype(np.float32),
        glow=cat.glow[face],
        heat=cat.heat[face],
        sheet=cat.sheet[face],
    )


@dataclass(frozen=True)
class Road:
    """The ground plane in strips along the road; the lateral position is x - centre - bend z^2."""

    centre: float  # metres right of the camera
    bend: float  # 1/m
    edges: np.ndarray  # (S - 1,) lateral borders of the S strips, ascending
    train_id: np.ndarray  # (S,) uint8
    material: np.ndarray  # (S,) uint8
    colour: np.ndarray  # (S, 3) float32 reflectance
    carriageway: int  # strip whose look a side street continues
    side_street: tuple[float, float]  # z where it begins and ends
    dashed: tuple[float, ...]  # how far to both sides dashed lines run
    solid: tuple[float, ...]  # how far to both sides continuous lines run
    line_colour: tuple[float, float, float]  # reflectance of the markings

    @property
    def half_width(self) -> float:
        """Half the width of the carriageway in metres."""
        return float(self.edges[self.carriageway])

    def x(self, lateral: np.ndarray | float, z: np.ndarray) -> np.ndarray:
        """Camera x of a lateral position at distance z."""
        return self.centre + self.bend * z**2 + lateral

    def yaw(self, z: np.ndarray) -> np.ndarray:
        """Direction of the road at distance z."""
        return np.arctan(2 * self.bend * z)


@dataclass(frozen=True)
class Scene:
    """Everything that does not depend on the domain's appearance."""

    polygons: Polygons
    road: Road
    sun: np.ndarray  # (3,) unit vector towards the sun
    lamps: np.ndarray  # (L, 2) x, z of the street lamps
    vanishing: tuple[float, float]  # image point straight ahead, fractions of width and height
    camera_height: float  # metres
    noise_at: tuple[int, int]  # where in the noise table this scene reads
