"""The street of a (seed, index), in one of two kinds of place."""

import numpy as np

from minorkey.world.classes import Material, Train
from minorkey.world.paints import mixed
from minorkey.world.places import Layout
from minorkey.world.placing import greys
from minorkey.world.roadside import backdrop, divide, lamps, signals, street_trees, structures, yards
from minorkey.world.scene import Road, Scene, Things, assemble
from minorkey.world.users import parked_cycles, pedestrians, traffic

_STRIPS = (
    (Train.TERRAIN, Material.GRASS),
    (Train.TERRAIN, Material.GRASS),
    (Train.SIDEWALK, Material.PAVING),
    (Train.ROAD, Material.ASPHALT),
    (Train.SIDEWALK, Material.PAVING),
    (Train.TERRAIN, Material.GRASS),
    (Train.TERRAIN, Material.GRASS),
)
"""The ground from left to right."""


def build(seed: int, index: int, layout: Layout) -> Scene:
    """The street of (seed, index) in a kind of place."""
    rng = np.random.default_rng([seed, index, layout.stream])
    road = _road(rng, layout)
    plots = divide(rng, road, layout)
    poles = lamps(rng, road)
    groups = [
        backdrop(rng),
        *structures(rng, road, plots, layout),
        yards(rng, road, plots, layout),
        poles,
        street_trees(rng, road, layout),
        signals(rng, road),
        traffic(rng, road, layout.keeps_left),
        pedestrians(rng, road),
        parked_cycles(rng, road),
    ]
    things = Things.joined(groups)
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(0.45, 1.0)
    level = np.cos(elevation)
    return Scene(
        polygons=assemble(things, mixed(rng, things.paints)),
        road=road,
        sun=np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], np.float32),
        lamps=poles.at[:, [0, 2]],
        vanishing=(rng.uniform(0.4, 0.6), rng.uniform(0.42, 0.54)),
        camera_height=rng.uniform(1.25, 1.75),
        noise_at=(int(256 * rng.random()), int(256 * rng.random())),
    )


def _road(rng: np.random.Generator, layout: Layout) -> Road:
    half, left, right = (
        rng.uniform(*layout.road_half),
        rng.uniform(*layout.pavement),
        rng.uniform(*layout.pavement),
    )
    verge = rng.uniform(0.8, 2.2, 2) * (rng.random(2) < layout.verges)
    tar = greys(rng, 1, 0.16, 0.34, 0.06) * layout.tar
    slabs = greys(rng, 1, 0.2, 0.48, 0.12, 0.4)
    turf = np.array([0.20, 0.26, 0.09]) * rng.uniform(0.6, 1.5, (1, 3)) + rng.uniform(0, 0.12) * np.array([1, 0.7, 0.4])
    lanes = (0.0,) if half < 5 else (0.0, half / 2)
    begin = rng.uniform(14, 45)
    return Road(
        centre=(1 if layout.keeps_left else -1) * half * (0.5 if half < 5 else 0.25) + rng.normal(0, 0.3),
        bend=rng.uniform(-1, 1) * layout.bend,
        edges=np.array([-half - left - verge[0], -half - left, -half, half, half + right, half + right + verge[1]]),
        train_id=np.array([train_id for train_id, _ in _STRIPS], np.uint8),
        material=np.array([material for _, material in _STRIPS], np.uint8),
        colour=np.concatenate([turf, turf, slabs, tar, slabs, turf, turf]).astype(np.float32),
        carriageway=3,
        side_street=(begin, begin + rng.uniform(6, 9)),
        dashed=lanes if rng.random() < 0.75 else (),
        solid=(half - 0.25,) if rng.random() < 0.6 else (),
        line_colour=layout.line,
    )
