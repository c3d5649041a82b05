"""What lines a street: lots with buildings, walls and fences, greenery, lamps, signals and the backdrop."""

from dataclasses import dataclass

import numpy as np

from minorkey.world.paints import kind
from minorkey.world.places import Layout
from minorkey.world.placing import FAR, SIDES, numbers, on_road, palette, pick, receding, row, rows, sizes, things
from minorkey.world.scene import Road, Things

HOUSE, WALL, FENCE, OPEN = range(4)

SKYLINE, LEAF, TRUNK, METAL, BRICK, TILE, SLATE = (
    kind(name) for name in ("skyline", "leaf", "trunk", "metal", "brick", "tile", "slate")
)
SIGN_PAINTS = np.array([kind(f"sign {name}") for name in ("red", "blue", "white", "yellow", "green")])


def backdrop(rng: np.random.Generator) -> Things:
    """Distant blocks and woods that close the horizon."""
    n = 10
    template = pick(rng, n, numbers("skyline", "woods"))
    draw = rng.random((n, 4))
    at = np.stack([np.linspace(-120, 120, n) + 12 * draw[:, 0], np.zeros(n), 125 + 50 * draw[:, 1]], 1)
    scale = np.stack([28 + 20 * draw[:, 2], 5 + 11 * draw[:, 3], np.ones(n)], 1)
    woods = template == numbers("woods")[0]
    return things(template, at, 0, scale, palette(n, np.where(woods, LEAF, SKYLINE)), 0)


@dataclass(frozen=True)
class Plots:
    """The land along both sides, free of the side street; n plots."""

    side: np.ndarray  # (n,) 0 left, 1 right
    begin: np.ndarray  # (n,) metres ahead
    length: np.ndarray  # (n,) metres along the road
    use: np.ndarray  # (n,) HOUSE, WALL, FENCE or OPEN


def divide(rng: np.random.Generator, road: Road, layout: Layout) -> Plots:
    """Cut the land along the road into plots."""
    side, begin = rows(rng, np.full(2, -4.0), layout.frontage)
    length = np.diff(begin, append=0) - 0.1
    length = np.where(length > 0, length, layout.frontage[0])
    use = pick(rng, len(begin), np.arange(4), np.array(layout.odds))
    free = (begin > road.side_street[1]) | (begin + length < road.side_street[0])
    return Plots(side[free], begin[free], length[free], use[free])


def structures(rng: np.random.Generator, road: Road, plots: Plots, layout: Layout) -> list[Things]:
    """Buildings, walls and fences; then the pitched roofs."""
    built = plots.use < OPEN
    side, begin, length, use = (a[built] for a in (plots.side, plots.begin, plots.length, plots.use))
    n, house = len(begin), use == HOUSE
    masonry_kind = np.where(house, pick(rng, n, numbers(*layout.buildings)), pick(rng, n, numbers("wall", "brickwall")))
    template = np.where(use == FENCE, numbers("fence"), masonry_kind)
    draw = rng.random((n, 6))
    low, high = layout.heights
    height = np.where(house, low + (high - low) * draw[:, 1], 1.1 + 1.6 * draw[:, 1])
    depth = np.where(house, 8 + 8 * draw[:, 0], 0.2)
    near, far = layout.setback
    front = np.where(side == 1, road.edges[-1], -road.edges[0])
    front += np.where(house, near + (far - near) * draw[:, 2], 0.1)
    at = on_road(road, np.where(side == 1, front, -front - depth), begin)
    bricks = (template == numbers("brick")[0]) | (template == numbers("brickwall")[0])
    masonry = np.where(bricks, BRICK, kind(layout.masonry))
    paints, yaw = palette(n, masonry, np.where(draw[:, 3] < 0.5, TILE, SLATE)), road.yaw(begin + length / 2)
    scale = np.stack([depth, height, length], 1)
    pitched = np.flatnonzero(house & (height < 12) & (draw[:, 4] < layout.pitched))
    eaves = at[pitched] + height[pitched, None] * np.array([0, 1, 0])
    rise = np.stack([depth[pitched], 2.0 + 2.5 * draw[pitched, 5], length[pitched]], 1)
    gable = np.repeat(numbers("gable"), len(pitched))
    return [
        things(template, at, yaw, scale, paints, layer=1),
        things(gable, eaves, yaw[pitched], rise, paints[pitched], layer=1),
    ]


def yards(rng: np.random.Generator, road: Road, plots: Plots, layout: Layout) -> Things:
    """Two trees or bushes on every plot without a house, showing over walls and through gaps."""
    green = np.flatnonzero(plots.use != HOUSE).repeat(2)
    n = len(green)
    draw = rng.random((n, 2))
    z = np.maximum(plots.begin[green] + plots.length[green] * (0.15 + 0.7 * draw[:, 0]), 3)
    lateral = np.where(plots.side[green] == 1, road.edges[-1], -road.edges[0]) + 2.5 + 6 * draw[:, 1]
    template = pick(rng, n, numbers(*layout.trees, "bush0", "bush1"))
    at = on_road(road, SIDES[plots.side[green]] * lateral, z)
    return things(template, at, 0, sizes(rng, n, 0.9, 1.8), palette(n, LEAF, TRUNK, LEAF), layer=1)


def lamps(rng: np.random.Generator, road: Road) -> Things:
    """Street lamps along one side, their arms over the road."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    z = row(rng, rng.uniform(-6, 6), (18, 26))
    z = z[z > 3]
    n = len(z)
    scale = np.repeat(np.array([[-side, 1.0, 1.0]]) * rng.uniform(0.8, 1.15), n, 0)
    at = on_road(road, side * (road.half_width + 0.5), z)
    return things(np.repeat(numbers("lamp"), n), at, 0, scale, palette(n, METAL))


def street_trees(rng: np.random.Generator, road: Road, layout: Layout) -> Things:
    """Rows of trees on the pavements."""
    starts = np.where(rng.random(2) < 0.6, rng.uniform(2, 40, 2), FAR)
    side, z = rows(rng, starts, (8, 24))
    n = len(z)
    at = on_road(road, SIDES[side] * (road.half_width + 0.9), z)
    paints = palette(n, LEAF, TRUNK, LEAF)
    return things(pick(rng, n, numbers(*layout.trees)), at, 0, sizes(rng, n, 0.75, 1.5), paints)


def signals(rng: np.random.Generator, road: Road) -> Things:
    """Traffic lights before the side street, signs along the pavement."""
    count = int(rng.random() * 4.6)
    near = rng.uniform(8, 14) if rng.random() < 0.5 else road.side_street[0] - 1.5
    lights = near + rng.uniform(-0.6, 0.6, count) + 11 * (np.arange(count) > 1)
    _, signs = receding(rng, rng.uniform(6, 12, 1), 1.0, (0.2, 0.7), 55)
    z = np.concatenate([lights, signs])
    n = len(z)
    lit = pick(rng, 1, numbers("light0", "light1", "light2"))
    template = np.concatenate([np.repeat(lit, count), pick(rng, len(signs), numbers("sign3", "sign4", "sign8"))])
    at = on_road(road, pick(rng, n, SIDES) * (road.half_width + 0.45), z)
    paints = palette(n, METAL, pick(rng, n, SIGN_PAINTS), pick(rng, n, SIGN_PAINTS[1:4]))
    return things(template, at, 0, sizes(rng, n, 0.85, 1.2), paints)
