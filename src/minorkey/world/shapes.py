"""Planar shapes in metres, as corner arrays: the vocabulary of the object templates.

Axes: x to the right, y up (ground at 0), z forwards.
"""

from collections.abc import Sequence

import numpy as np

CORNERS = 8
"""Corners stored per polygon; shorter ones repeat their last corner."""


def quad(a: Sequence[float], b: Sequence[float], c: Sequence[float], d: Sequence[float]) -> np.ndarray:
    """Four corners, (4, 3)."""
    return np.array([a, b, c, d], np.float32)


def upright(x0: float, x1: float, y0: float, y1: float, z: float = 0.0) -> np.ndarray:
    """A rectangle standing across the z axis, its outside towards -z; towards +z where x0 > x1."""
    return quad((x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z))


def along(x: float, y0: float, y1: float, z0: float, z1: float) -> np.ndarray:
    """A rectangle standing along the z axis."""
    return quad((x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0))


def bar(y0: float, z0: float, y1: float, z1: float, width: float) -> np.ndarray:
    """A straight tube from (y0, z0) to (y1, z1) in the plane x = 0."""
    direction = np.array([z1 - z0, y1 - y0])
    ny, nz = np.array([direction[0], -direction[1]]) / np.hypot(*direction) * width / 2
    return quad((0, y0 + ny, z0 + nz), (0, y1 + ny, z1 + nz), (0, y1 - ny, z1 - nz), (0, y0 - ny, z0 - nz))


def disc(x: float, y: float, z: float, radius: float, axis: str = "z") -> np.ndarray:
    """An octagon around (x, y, z), across the z or the x axis."""
    angle = np.arange(CORNERS) * (2 * np.pi / CORNERS) + np.pi / CORNERS
    a, b = radius * np.cos(angle), radius * np.sin(angle)
    ring = (a, b, 0 * a) if axis == "z" else (0 * a, b, a)
    return np.stack(ring, 1) + np.array([x, y, z])


def prism(bottom: np.ndarray, top: np.ndarray) -> list[np.ndarray]:
    """Sides, ends and top between two rectangles of corners (4, 3), each turned outwards.

    Returns [front, back, left, right, top] for corners ordered (-x -z), (+x -z), (+x +z), (-x +z).
    """
    centre = (bottom.mean(0) + top.mean(0)) / 2
    sides = [quad(bottom[i], bottom[j], top[j], top[i]) for i, j in ((2, 3), (0, 1), (3, 0), (1, 2))]
    return [outwards(face, centre) for face in [*sides, top]]


def outwards(face: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The face with its outside turned away from `centre` (3,)."""
    normal = np.cross(face[1] - face[0], face[2] - face[0])
    return face if normal @ (face.mean(0) - centre) > 0 else face[::-1]


def rectangle(x: float, y: float, z0: float, z1: float) -> np.ndarray:
    """Corners of a level rectangle, half-width x, at height y, for `prism`."""
    return quad((-x, y, z0), (x, y, z0), (x, y, z1), (-x, y, z1))


def box(x: float, y0: float, y1: float, z0: float, z1: float) -> list[np.ndarray]:
    """An upright box of half-width x."""
    return prism(rectangle(x, y0, z0, z1), rectangle(x, y1, z0, z1))
