"""Helpers that the parts of a layout share: random rows, choices, colours and instances, all vectorised."""

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


def vivid(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` colours, (n, 3): half of them greys, half saturated."""
    draw = rng.random((n, 5))
    return np.where(draw[:, :1] < 0.5, 0.04 + 0.76 * draw[:, 1:2] ** 1.3, 0.04 + 0.70 * draw[:, 2:])


def leaves(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` leaf colours, (n, 3), from dark green to yellow."""
    draw = rng.random((n, 4))
    return np.array([0.13, 0.20, 0.06]) * (0.6 + 1.1 * draw[:, :3]) + 0.08 * draw[:, 3:]


def skins(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` skin colours, (n, 3)."""
    return np.array([0.62, 0.42, 0.31]) * (0.35 + 0.9 * rng.random((n, 1)))


def palette(*slots: np.ndarray) -> np.ndarray:
    """(n, 4, 3) from up to four (n, 3); missing slots repeat the last."""
    colours = np.empty((len(slots[0]), 4, 3))
    for i in range(4):
        colours[:, i] = slots[min(i, len(slots) - 1)]
    return colours


def on_road(road: Road, lateral: np.ndarray | float, z: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
    """Points (n, 3) at lateral positions, distances z and heights y."""
    points = np.empty((len(z), 3))
    points[:, 0], points[:, 1], points[:, 2] = road.x(lateral, z), y, z
    return points


def sizes(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """`n` uniform scales, (n, 3)."""
    return np.repeat(low + (high - low) * rng.random((n, 1)), 3, 1)


def things(
    template: np.ndarray,
    at: np.ndarray,
    yaw: np.ndarray | float,
    scale: np.ndarray,
    colours: np.ndarray,
    layer: int = 2,
) -> Things:
    """Instances from arrays; a single yaw counts for all."""
    n = len(template)
    return Things(template, at, np.zeros(n) + yaw, scale, colours, np.full(n, layer))
