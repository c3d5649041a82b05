"""Helpers that the parts of a layout share: random rows, choices, paints and instances, all vectorised."""

from functools import cache

import numpy as np

from minorkey.world.scene import Road, Things, catalogue

FAR = 100.0
"""Metres; nothing but the backdrop stands beyond: a person is 5 pixels tall there at a width of 256."""

SIDES = np.array([-1.0, 1.0])


@cache
def numbers(*names: str) -> np.ndarray:
    """Catalogue indices of templates."""
    return np.array([catalogue().names.index(name) for name in names])


def pick(rng: np.random.Generator, n: int, choices: np.ndarray, odds: np.ndarray | None = None) -> np.ndarray:
    """`n` draws from `choices`, uniform or with `odds`."""
    draw = rng.random(n)
    if odds is None:
        return choices[(draw * len(choices)).astype(np.int64)]
    return choices[np.minimum(np.searchsorted(np.cumsum(odds), draw), len(choices) - 1)]


def row(rng: np.random.Generator, start: float, gap: tuple[float, float], end: float = FAR) -> np.ndarray:
    """Distances along the road with random gaps."""
    return rows(rng, np.array([start]), gap, end)[1]


def rows(
    rng: np.random.Generator, starts: np.ndarray, gap: tuple[float, float], end: float = FAR
) -> tuple[np.ndarray, np.ndarray]:
    """Several rows at once: which row each point is in, and its distance."""
    count = int((end - float(starts.min())) / gap[0]) + 1
    z = starts[:, None] + np.cumsum(gap[0] + (gap[1] - gap[0]) * rng.random((len(starts), count)), 1)
    which = np.nonzero(z < end)
    return which[0], z[which]


def receding(
    rng: np.random.Generator, starts: np.ndarray, gap: float, growth: tuple[float, float], end: float
) -> tuple[np.ndarray, np.ndarray]:
    """Several rows at once whose gaps grow with distance: `gap` metres and a random share of the distance.

    So the picture, not the road, is evenly filled: what stands far is small and few.
    """
    even = gap / growth[0]
    count = int(np.log((end + even) / (starts.min() + even)) / np.log(1 + growth[0])) + 1
    z, found = starts, []
    steps = 1 + growth[0] + (growth[1] - growth[0]) * rng.random((count, len(starts)))
    for step in steps:
        found.append(z)
        z = z * step + gap
    column = np.stack(found)
    which = np.nonzero(column < end)
    return which[1], column[which]


def greys(rng: np.random.Generator, n: int, low: float, high: float, tint: float, warm: float = 0.0) -> np.ndarray:
    """`n` muted colours, (n, 3): a wide range of greys, each pulled a little towards a hue."""
    level = low + (high - low) * rng.random((n, 1))
    lean = np.array([0.5, 0.05, -0.5]) * warm
    return np.minimum(np.maximum(level * (1 + tint * (0.5 * rng.standard_normal((n, 3)) + lean)), 0.02), 0.95)


def palette(n: int, *slots: np.ndarray | int) -> np.ndarray:
    """Kinds of paint (n, 4) from up to four, each one for all or (n,); missing slots repeat the last."""
    paints = np.empty((n, 4), np.int64)
    for i in range(4):
        paints[:, i] = slots[min(i, len(slots) - 1)]
    return paints


def on_road(road: Road, lateral: np.ndarray | float, z: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
    """Points (n, 3) at lateral positions, distances z and heights y."""
    points = np.empty((len(z), 3))
    points[:, 0], points[:, 1], points[:, 2] = road.x(lateral, z), y, z
    return points


def sizes(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """`n` uniform scales, (n, 3)."""
    scale = np.empty((n, 3))
    scale[:] = low + (high - low) * rng.random((n, 1))
    return scale


def things(
    template: np.ndarray,
    at: np.ndarray,
    yaw: np.ndarray | float,
    scale: np.ndarray,
    paints: np.ndarray,
    layer: int = 2,
) -> Things:
    """Instances from arrays; a single yaw counts for all."""
    n = len(template)
    return Things(template, at, np.zeros(n) + yaw, scale, paints, np.full(n, layer))
