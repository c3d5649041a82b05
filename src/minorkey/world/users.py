"""Who uses a street: vehicles and riders lane by lane, pedestrians, parked two-wheelers."""

import numpy as np

from minorkey.world.paints import kind
from minorkey.world.placing import SIDES, numbers, on_road, palette, pick, receding, sizes, things
from minorkey.world.scene import Road, Things

LACQUER, JACKET, SHIRT, TROUSERS, SKIN, HAIR = (
    kind(name) for name in ("lacquer", "jacket", "shirt", "trousers", "skin", "hair")
)

FLEET = {
    "sedan": 0.25,
    "hatch": 0.17,
    "van": 0.10,
    "truck": 0.07,
    "bus": 0.07,
    "cyclist": 0.17,
    "motorcyclist": 0.17,
}
"""Share of each kind in the traffic."""


def traffic(rng: np.random.Generator, road: Road, keeps_left: bool) -> Things:
    """Parked and moving vehicles and riders, one row per lane."""
    half = road.half_width
    lanes = np.array([-half + 1.05, half - 1.05])
    if half > 5:
        lanes = np.concatenate([lanes, [-half / 2 + 0.9, half / 2 - 0.9]])
    own = np.abs(lanes + road.centre) < 1.5
    lane, z = receding(rng, 5 + 6 * rng.random(len(lanes)) + 6 * own, 6.0, (0.1, 0.6), 50)
    driven = rng.random(len(z)) < np.where(lane < 2, 0.75, 0.45)
    lane, z = lane[driven], z[driven]
    n = len(z)
    template = pick(rng, n, numbers(*FLEET), np.array(list(FLEET.values())))
    oncoming = (lanes[lane] > 0) == keeps_left
    large = (template == numbers("bus")) | (template == numbers("truck"))
    rider = (template == numbers("cyclist")) | (template == numbers("motorcyclist"))
    lateral = lanes[lane] * np.where(large, 0.93, 1) + 0.12 * rng.standard_normal(n)
    clothes = np.where(rider, JACKET, LACQUER)
    paints = palette(n, clothes, clothes, np.where(rider, SKIN, LACQUER), HAIR)
    return things(
        template,
        on_road(road, lateral, z + 1.5 + 4.0 * large),
        road.yaw(z) + np.pi * oncoming + np.where(rider, crossing(rng, n), 0),
        sizes(rng, n, 0.93, 1.07),
        paints,
    )


def crossing(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` turns in radians: four in ten riders cross the road, seen from the side."""
    draw = rng.random(n)
    return np.where(draw < 0.4, np.where(draw < 0.2, 0.5, -0.5) * np.pi, 0)


def pedestrians(rng: np.random.Generator, road: Road) -> Things:
    """People on the pavements, some crossing the road."""
    n = 4 + int(rng.random() * 9)
    side = pick(rng, n, SIDES)
    draw = rng.random((n, 4))
    width = np.where(side > 0, road.edges[4] - road.edges[3], road.edges[2] - road.edges[1])
    lateral = side * (road.half_width + (0.25 + 0.7 * draw[:, 0]) * width)
    lateral = np.where(draw[:, 1] < 0.15, (2 * draw[:, 0] - 1) * road.half_width, lateral)
    z = (5 + 6 * draw[:, 2]) * (1 + 3.5 * draw[:, 3])
    template = pick(rng, n, numbers("person0", "person1", "person2"))
    paints = palette(n, SHIRT, TROUSERS, SKIN, HAIR)
    return things(template, on_road(road, lateral, z), 0, sizes(rng, n, 0.85, 1.12), paints)


def parked_cycles(rng: np.random.Generator, road: Road) -> Things:
    """Bicycles and motorcycles standing on the pavement."""
    n = 1 + int(rng.random() * 4)
    draw = rng.random((n, 4))
    lateral = pick(rng, n, SIDES) * (road.half_width + 0.7 + 0.7 * draw[:, 0])
    template = pick(rng, n, numbers("bicycle", "bicycle", "motorcycle"))
    at = on_road(road, lateral, (5 + 4 * draw[:, 1]) * (1 + 1.6 * draw[:, 3]))
    return things(template, at, np.pi * draw[:, 2], np.ones((n, 3)), palette(n, LACQUER))
