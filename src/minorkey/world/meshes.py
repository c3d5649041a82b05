"""Object templates: small sets of planar polygons in metres, built once and placed many times.

Local axes: x to the right, y up (ground at 0), z forwards; an object's front looks along +z.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minorkey.world.classes import Material, Train
from minorkey.world.shapes import CORNERS, along, bar, box, disc, outwards, prism, quad, rectangle, upright

OWN_COLOURS = 4
"""Colours that an instance brings itself (slots 0 to 3): body, second, third, fourth."""

RUBBER, GLASS, WHITE, RED, AMBER, GREEN, STEEL, DARK = range(OWN_COLOURS, OWN_COLOURS + 8)

FIXED_COLOURS = np.array(
    [
        [0.05, 0.05, 0.055],
        [0.13, 0.16, 0.18],
        [0.95, 0.93, 0.85],
        [0.75, 0.06, 0.05],
        [0.90, 0.50, 0.08],
        [0.10, 0.65, 0.30],
        [0.38, 0.39, 0.40],
        [0.09, 0.09, 0.09],
    ],
    np.float32,
)
"""Reflectances of slots 4 onwards, the same on every instance."""


@dataclass(frozen=True)
class Face:
    """One planar polygon of a template."""

    points: np.ndarray  # (K, 3) metres, K <= CORNERS
    train_id: int
    material: int = Material.PLAIN
    slot: int = 0  # colour: the instance's own, or a fixed one
    glow: float = 0.0  # light given off where the lights are on
    heat: float = 0.0  # temperature above the surroundings, 0 to 1, seen in infrared
    sheet: bool = False  # seen from both sides; otherwise only from outside
    part: int = 0  # which instance of the object it belongs to (a rider and its bike are two)
    body: int = 0  # which convex body of the object; the nearer body hides the other


def _wheels(train_id: int, x: float, radius: float, at: Sequence[float], body: int = 0) -> list[Face]:
    faces = []
    for side in (-x, x):
        for z in at:
            tyre = outwards(disc(side, radius, z, radius, "x"), np.zeros(3))
            hub = outwards(disc(side * 1.01, radius, z, radius * 0.55, "x"), np.zeros(3))
            faces.append(Face(tyre, train_id, slot=RUBBER, heat=0.7, body=body))
            faces.append(Face(hub, train_id, slot=STEEL, heat=0.8, body=body))
    return faces


def _lamps(train_id: int, x: float, y: float, rear: float, front: float) -> tuple[list[Face], list[Face]]:
    """Tail lamps and head lamps."""
    tails = [upright(side - 0.14, side + 0.14, y - 0.1, y + 0.1, rear - 0.01) for side in (-x, x)]
    heads = [upright(side + 0.15, side - 0.15, y - 0.2, y, front + 0.01) for side in (-x, x)]
    return (
        [Face(p, train_id, slot=RED, glow=1.2, heat=0.3) for p in tails],
        [Face(p, train_id, slot=WHITE, glow=1.6, heat=0.5) for p in heads],
    )


def _car(length: float, bonnet: float, boot: float, height: float) -> list[Face]:
    """A car of half-length `length`; its cabin leaves `boot` free at the rear and `bonnet` at the front."""
    car, x, waist = Train.CAR, 0.88, 0.88
    faces = [
        Face(p, car, Material.PAINT, heat=h)
        for p, h in zip(box(x, 0.28, waist, -length, length), (0.55, 0.3, 0.25, 0.25, 0.35), strict=True)
    ]
    faces += [Face(upright(-x, x, 0.2, 0.42, -length - 0.01), car, slot=DARK, heat=0.45)]
    faces += [Face(upright(x, -x, 0.2, 0.42, length + 0.01), car, slot=DARK, heat=0.6)]
    low = rectangle(x * 0.97, waist, -length + boot, length - bonnet)
    high = rectangle(x * 0.76, height, -length + boot + 0.45, length - bonnet - 0.75)
    cabin = prism(low, high)
    faces += [Face(p, car, Material.PAINT, heat=0.2) for p in cabin]
    for pane in cabin[:4]:
        shrunk = pane.mean(0) + (pane - pane.mean(0)) * np.array([0.88, 0.78, 0.88]) + 0.0
        faces.append(Face(shrunk, car, Material.GLASS, GLASS, heat=0.12))
    plate = upright(-0.26, 0.26, 0.5, 0.62, -length - 0.015)
    faces.append(Face(plate, car, slot=WHITE))
    tails, heads = _lamps(car, 0.66, 0.75, -length, length)
    return faces + _wheels(car, x + 0.01, 0.33, (-length * 0.62, length * 0.62)) + tails + heads


def _bus() -> list[Face]:
    bus, x = Train.BUS, 1.27
    shell = box(x, 0.35, 3.0, -5.6, 5.6)
    faces = [
        Face(p, bus, m, heat=h)
        for p, m, h in zip(
            shell,
            (Material.PAINT, Material.PAINT, Material.BUSSIDE, Material.BUSSIDE, Material.PAINT),
            (0.4, 0.5, 0.25, 0.25, 0.2),
            strict=True,
        )
    ]
    faces += [Face(upright(-1.1, 1.1, 1.45, 2.55, -5.61), bus, Material.GLASS, GLASS, glow=0.25)]
    faces += [Face(upright(1.15, -1.15, 1.1, 2.5, 5.61), bus, Material.GLASS, GLASS, glow=0.2)]
    faces += [Face(upright(0.8, -0.8, 2.6, 2.9, 5.61), bus, slot=AMBER, glow=0.8)]
    faces += [Face(upright(-1.2, 1.2, 0.35, 0.75, -5.61), bus, slot=DARK, heat=0.7)]
    tails, heads = _lamps(bus, 1.05, 1.0, -5.62, 5.62)
    return faces + _wheels(bus, x + 0.01, 0.48, (-3.4, 3.6)) + tails + heads


def _truck() -> list[Face]:
    """A cargo box and a cab, two bodies."""
    truck, x = Train.TRUCK, 1.22
    faces = [Face(p, truck, Material.PAINT, 1, heat=0.15) for p in box(x, 0.9, 3.4, -4.0, 1.9)]
    faces += [Face(upright(-1.05, 1.05, 1.05, 3.25, -4.01), truck, Material.PAINT, 2, heat=0.12)]
    faces += [Face(upright(-0.02, 0.02, 1.05, 3.25, -4.02), truck, slot=DARK)]
    faces += [Face(p, truck, slot=DARK, heat=0.35) for p in box(x * 0.8, 0.5, 0.9, -3.9, 2.0)[:4]]
    shell = prism(rectangle(x * 0.97, 0.45, 2.1, 4.0), rectangle(x * 0.93, 2.7, 2.1, 3.75))
    cab = [Face(p, truck, Material.PAINT, heat=0.45, body=1) for p in shell]
    panes = [outwards(along(s * x * 0.97, 1.5, 2.3, 2.6, 3.6), np.array([0, 1.9, 3.1])) for s in (-1, 1)]
    panes += [upright(1.05, -1.05, 1.55, 2.45, 3.93)]
    cab += [Face(p, truck, Material.GLASS, GLASS, body=1) for p in panes]
    tails, heads = _lamps(truck, 0.95, 0.85, -4.03, 4.03)
    cab += [replace(head, body=1) for head in heads]
    return faces + _wheels(truck, x, 0.5, (-2.9, -1.8)) + tails + cab + _wheels(truck, x, 0.5, (3.1,), 1)


def _figure(train_id: int, stride: float, seat: float | None = None, part: int = 0) -> list[Face]:
    """A human figure facing across z: clothes 0 (upper) and 1 (legs), skin 2, hair 3."""
    lift, cloth = (0.0 if seat is None else seat), Material.CLOTH
    foot = 0.0 if seat is None else 0.42
    hip = 0.88 + lift
    legs = [
        quad(
            (s * 0.04, hip, 0),
            (s * 0.17, hip, 0),
            (s * (0.13 + stride), foot, 0),
            (s * (0.02 + stride), foot, 0),
        )
        for s in (-1, 1)
    ]
    torso = np.array(
        [
            (-0.17, 0.86, 0),
            (0.17, 0.86, 0),
            (0.24, 1.40, 0),
            (0.12, 1.50, 0),
            (-0.12, 1.50, 0),
            (-0.24, 1.40, 0),
        ]
    )
    arms = [
        quad(
            (s * 0.20, 1.42, 0),
            (s * 0.27, 1.40, 0),
            (s * (0.32 + stride / 2), 0.85, 0),
            (s * (0.24 + stride / 2), 0.85, 0),
        )
        for s in (-1, 1)
    ]
    rise = np.array([0, lift, 0])
    faces = [Face(p, train_id, cloth, 1, heat=0.62, sheet=True, part=part) for p in legs]
    faces += [Face(p + rise, train_id, cloth, 0, heat=0.68, sheet=True, part=part) for p in arms]
    faces += [Face(torso + rise, train_id, cloth, 0, heat=0.75, sheet=True, part=part)]
    faces += [Face(disc(0, 1.63 + lift, -0.01, 0.125), train_id, slot=2, heat=0.95, sheet=True, part=part)]
    cap = np.array(
        [
            (-0.125, 1.64, -0.02),
            (0.125, 1.64, -0.02),
            (0.09, 1.74, -0.02),
            (0, 1.77, -0.02),
            (-0.09, 1.74, -0.02),
        ]
    )
    return [*faces, Face(cap + rise, train_id, slot=3, heat=0.7, sheet=True, part=part)]


def _profile(train_id: int, lift: float, part: int) -> list[Face]:
    """A seated human figure along z, so that a rider shows from the side too; colours as `_figure`."""
    hip, shoulder = (0.90 + lift, -0.22), (1.42 + lift, 0.02)
    limbs = (
        (bar(*hip, 0.62 + lift / 2, 0.16, 0.17), 1, 0.62),
        (bar(0.64 + lift / 2, 0.14, 0.36, 0.06, 0.12), 1, 0.62),
        (bar(*hip, *shoulder, 0.28), 0, 0.75),
        (bar(shoulder[0] - 0.06, shoulder[1], 1.02 + lift, 0.36, 0.09), 0, 0.68),
    )
    faces = [Face(p, train_id, Material.CLOTH, slot, heat=heat, sheet=True, part=part) for p, slot, heat in limbs]
    head = disc(0, 1.63 + lift, 0.08, 0.125, "x")
    cap = head * np.array([1, 0.55, 1.05]) + np.array([0, 0.45 * (1.63 + lift) + 0.07, 0])
    faces += [Face(head, train_id, slot=2, heat=0.95, sheet=True, part=part)]
    return [*faces, Face(cap, train_id, slot=3, heat=0.7, sheet=True, part=part)]


def _cycle(train_id: int, radius: float, base: float, thick: float, engine: float) -> list[Face]:
    """A two-wheeler along z, with some width so that it shows from behind."""
    faces = []
    for z in (-base, base):
        faces.append(Face(upright(-thick, thick, 0, 2 * radius, z), train_id, slot=RUBBER, heat=0.3, sheet=True))
        faces.append(Face(disc(0, radius, z, radius, "x"), train_id, slot=RUBBER, heat=0.3, sheet=True))
        faces.append(Face(disc(0, radius, z, radius * 0.72, "x"), train_id, slot=STEEL, heat=0.2, sheet=True))
    saddle, steer = radius * 2.4, radius * 3.1
    tubes = (
        (radius, -base, saddle, -base * 0.4),
        (saddle, -base * 0.4, radius * 0.8, 0.1),
        (radius * 0.8, 0.1, steer, base * 0.75),
        (saddle * 0.9, -base * 0.4, steer * 0.9, base * 0.75),
        (steer, base * 0.75, radius, base),
    )
    faces += [Face(bar(*t, 0.06 + thick), train_id, Material.PAINT, heat=engine / 2, sheet=True) for t in tubes]
    if engine:
        body = prism(
            rectangle(0.16, radius, -base * 0.5, base * 0.4),
            rectangle(0.14, radius * 2.6, -base * 0.9, base * 0.5),
        )
        faces += [Face(p, train_id, Material.PAINT, heat=engine) for p in body]
        faces += [
            Face(
                upright(-0.08, 0.08, saddle * 0.8, saddle, -base - 0.1),
                train_id,
                slot=RED,
                glow=1.2,
                sheet=True,
            )
        ]
        faces += [Face(disc(0, steer * 0.9, base + 0.05, 0.1), train_id, slot=WHITE, glow=1.4, sheet=True)]
    faces += [Face(upright(-0.3, 0.3, steer, steer + 0.05, base * 0.7), train_id, slot=DARK, sheet=True)]
    return faces


def _bicycle() -> list[Face]:
    return _cycle(Train.BICYCLE, 0.34, 0.52, 0.025, 0.0)


def _motorcycle() -> list[Face]:
    return _cycle(Train.MOTORCYCLE, 0.33, 0.70, 0.07, 0.95)


def _pole(height: float, radius: float) -> Face:
    return Face(upright(-radius, radius, 0, height), Train.POLE, slot=0, sheet=True)


def _street_lamp() -> list[Face]:
    arm = upright(-0.05, 1.4, 6.9, 7.0)
    head = upright(0.9, 1.6, 6.78, 6.95, -0.02)
    return [
        _pole(7.0, 0.085),
        Face(arm, Train.POLE, sheet=True),
        Face(head, Train.POLE, slot=WHITE, glow=2.5, heat=0.5, sheet=True),
    ]


def _traffic_light(lit: int) -> list[Face]:
    faces = [
        _pole(3.4, 0.07),
        Face(upright(-0.24, 0.24, 2.45, 3.65, -0.02), Train.LIGHT, slot=DARK, heat=0.25, sheet=True),
    ]
    for i, (slot, y) in enumerate(((RED, 3.37), (AMBER, 3.05), (GREEN, 2.73))):
        on = i == lit
        faces.append(
            Face(
                disc(0, y, -0.04, 0.15),
                Train.LIGHT,
                slot=slot if on else DARK,
                glow=2.0 * on,
                heat=0.4,
                sheet=True,
            )
        )
    return faces


def _sign(corners: int) -> list[Face]:
    """A road sign with 3, 4 or 8 corners on its post: border 1, field 2."""
    angle = np.arange(corners) * (2 * np.pi / corners) + np.pi / 2 + (np.pi / 4 if corners == 4 else 0)
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    plate, field = ring * 0.42 + (0, 2.55, -0.02), ring * 0.30 + (0, 2.55, -0.03)
    return [
        _pole(2.7, 0.04),
        Face(plate, Train.SIGN, slot=1, sheet=True),
        Face(field, Train.SIGN, Material.SIGN, 2, sheet=True),
    ]


def _tree(shape: int, conifer: bool) -> list[Face]:
    """A trunk and a crown of overlapping irregular polygons in a unit of about 5 m height."""
    rng = np.random.default_rng([17, shape, int(conifer)])
    faces = [Face(upright(-0.13, 0.13, 0, 2.6), Train.VEGETATION, Material.ROOF, 1, sheet=True)]
    for i in range(9):
        bearing, reach = i * 2.5, (0.0 if i == 0 else rng.uniform(0.7, 1.15))
        height = 1.4 + 0.45 * i if conifer else 3.5 + reach * np.sin(bearing)
        spread = (1.5 - 0.155 * i) if conifer else (1.25 if i == 0 else rng.uniform(0.45, 0.75))
        blob = disc(0.0 if conifer else 1.1 * reach * np.cos(bearing), height, -0.02 * i, 1.0)
        blob = blob.mean(0) + (blob - blob.mean(0)) * (spread * rng.uniform(0.65, 1.25, (CORNERS, 1)))
        if conifer:
            blob[:, 1] = height + (blob[:, 1] - height) * 0.55
        faces.append(Face(blob, Train.VEGETATION, Material.FOLIAGE, slot=(0, 2)[i % 2], heat=0.12, sheet=True))
    return faces


def _bush(shape: int) -> list[Face]:
    rng = np.random.default_rng([18, shape])
    blobs = [disc(rng.uniform(-0.8, 0.8), rng.uniform(0.2, 0.6), -0.02 * i, rng.uniform(0.4, 0.7)) for i in range(4)]
    return [
        Face(b, Train.VEGETATION, Material.FOLIAGE, (0, 2)[i % 2], heat=0.12, sheet=True) for i, b in enumerate(blobs)
    ]


def _block(train_id: int, material: int) -> list[Face]:
    """A unit box: x in [0, 1] away from the road, y in [0, 1], z in [0, 1] along it."""
    shift = np.array([0.5, 0, 0])
    sides = [p + shift for p in box(0.5, 0, 1, 0, 1)]
    return [
        Face(p, train_id, material if i < 4 else Material.ROOF, 0 if i < 4 else 1, heat=0.1)
        for i, p in enumerate(sides)
    ]


def _gable() -> list[Face]:
    """A pitched roof over a unit box, ridge along z, eaves a little out and down."""
    a, b, y = -0.06, 1.06, -0.12
    slopes = [
        quad((a, y, a), (a, y, b), (0.5, 1, b), (0.5, 1, a)),
        quad((b, y, a), (0.5, 1, a), (0.5, 1, b), (b, y, b)),
    ]
    ends = [np.array([(a, y, z), (b, y, z), (0.5, 1, z)]) for z in (a, b)]
    inside = np.array([0.5, 0.3, 0.5])
    faces = [Face(outwards(p, inside), Train.BUILDING, Material.ROOF, 1, heat=0.1) for p in slopes]
    return faces + [Face(outwards(p, inside), Train.BUILDING, Material.PLAIN, 0, heat=0.1) for p in ends]


def _skyline() -> list[Face]:
    return [Face(upright(-0.5, 0.5, 0, 1), Train.BUILDING, Material.PLASTER, sheet=True)]


def _woods() -> list[Face]:
    """A distant row of trees with an uneven top."""
    tops = ((0.5, 0.0), (0.5, 0.7), (0.3, 0.9), (0.1, 0.65), (-0.15, 1.0), (-0.35, 0.7), (-0.5, 0.8), (-0.5, 0.0))
    outline = np.array([(x, y, 0.0) for x, y in tops], np.float32)
    return [Face(outline, Train.VEGETATION, Material.FOLIAGE, sheet=True)]


def templates() -> dict[str, list[Face]]:
    """All templates by name."""
    figures = {f"person{i}": (_figure(Train.PERSON, s)) for i, s in enumerate((0.0, 0.07, 0.15))}
    seat = {"cyclist": (_bicycle(), 0.12), "motorcyclist": (_motorcycle(), 0.0)}
    riders = {
        name: (cycle + _profile(Train.RIDER, lift, 1) + _figure(Train.RIDER, 0.05, lift, 1))
        for name, (cycle, lift) in seat.items()
    }
    return {
        "sedan": _car(2.2, 1.1, 0.75, 1.42),
        "hatch": _car(1.9, 0.95, 0.1, 1.5),
        "van": _car(2.4, 0.6, 0.0, 1.95),
        "bus": _bus(),
        "truck": _truck(),
        "bicycle": (_bicycle()),
        "motorcycle": (_motorcycle()),
        "lamp": _street_lamp(),
        "bush0": _bush(0),
        "bush1": _bush(1),
        "gable": _gable(),
        "wall": _block(Train.WALL, Material.STONE),
        "brickwall": _block(Train.WALL, Material.BRICK),
        "fence": _block(Train.FENCE, Material.FENCE),
        "plaster": _block(Train.BUILDING, Material.PLASTER),
        "brick": _block(Train.BUILDING, Material.BRICK),
        "curtain": _block(Train.BUILDING, Material.CURTAIN),
        "skyline": _skyline(),
        "woods": _woods(),
        **figures,
        **riders,
        **{f"light{i}": _traffic_light(i) for i in range(3)},
        **{f"sign{n}": _sign(n) for n in (3, 4, 8)},
        **{f"tree{i}": _tree(i, False) for i in range(3)},
        **{f"conifer{i}": _tree(i, True) for i in range(2)},
    }
