"""What surfaces look like up close: textures as functions of world position, independent of the domain."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from minorkey.world.classes import Material
from minorkey.world.gbuffer import GROUND_MATERIALS, GBuffer
from minorkey.world.scene import Road

SIDE = 256


@cache
def noise_table() -> np.ndarray:
    """(SIDE * SIDE,) float32 tileable noise of several octaves, mean 0, standard deviation 1."""
    rng = np.random.default_rng(20240229)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) + 1 / SIDE
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / frequency**0.9
    table = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return ((table - table.mean()) / table.std()).astype(np.float32).ravel()


@cache
def chance_table() -> np.ndarray:
    """(SIDE * SIDE,) float32 uniform random numbers, for one draw per window, brick or slab."""
    return np.random.default_rng(20240301).random(SIDE * SIDE, np.float32)


def lookup(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Table values at integer parts of u and v, repeating every SIDE."""
    at = (u.astype(np.int32) * SIDE + (v.astype(np.int32) & (SIDE - 1))) & (SIDE * SIDE - 1)
    return np.take(table, at, mode="clip")  # in range; "clip" spares the check


@dataclass(frozen=True)
class Patch:
    """The pixels of one material; n of them. u runs along the surface, v up it (or ahead, on the ground)."""

    u: np.ndarray  # (n,) metres
    v: np.ndarray  # (n,) metres
    z: np.ndarray  # (n,) metres from the camera
    chance: np.ndarray  # (n,) 0 to 1, one draw per surface
    road: Road

    def grain(self, per_metre: float) -> np.ndarray:
        """Noise with `per_metre` samples a metre, fading where it falls below a pixel."""
        fade = 1 / (1 + self.z * (per_metre / 400))
        shift = self.chance * 199
        return lookup(noise_table(), self.u * per_metre + 4096 + shift, self.v * per_metre + 4096) * fade

    def cell(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """One random number per cell of a grid in whole numbers."""
        return lookup(chance_table(), u + 4096 + self.chance * 97, v + 4096)


@dataclass(frozen=True)
class Look:
    """A texture's say: colour = base * shade, replaced by `tone` * `tint` where `cover` is set."""

    shade: np.ndarray  # (n,)
    cover: np.ndarray | None = None  # (n,) bool
    tone: np.ndarray | float = 1.0  # (n,)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    glow: np.ndarray | float = 0.0  # (n,) light given off where covered, when lights are on
    heat: float = 0.0  # warmth added where covered


Texture = Callable[[Patch], Look]


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _near(x: np.ndarray, at: float, within: float) -> np.ndarray:
    return np.abs(x - np.float32(at)) < np.float32(within)


def _masked(mask: np.ndarray, value: float) -> np.ndarray:
    """`value` where the mask is set, in single precision."""
    return mask * np.float32(value)


def asphalt(p: Patch) -> Look:
    """Tar with patches, a gutter and painted lines: dashed, solid, and a zebra before the side street."""
    road, half = p.road, p.road.half_width
    lines, aside = np.zeros(len(p.u), bool), np.abs(p.u)
    for at in road.dashed:
        lines |= _near(aside, at, 0.075)
    lines &= _fraction(p.v * (1 / 7)) < 0.45
    for at in road.solid:
        lines |= _near(aside, at, 0.06)
    begin, end = road.side_street
    zebra = _near(p.v, begin - 2.2, 1.5) & (_fraction(p.u) < 0.5) & (aside < half)
    lines = (lines & ((p.v < begin - 4) | (p.v > end + 1))) | zebra
    shade = 1 + 0.12 * p.grain(9) - _masked(_near(aside, half, 0.18), 0.2)
    return Look(shade, lines, 1 + 0.1 * p.chance, road.line_colour)


def paving(p: Patch) -> Look:
    """Slabs with joints and a kerb."""
    across, ahead = p.u * 1.2, p.v * 1.2
    fade = 1 / (1 + p.z / 15)
    joint = (_fraction(across) < 0.05) | (_fraction(ahead) < 0.05)
    slabs = 0.22 * (p.cell(across, ahead) - 0.5) - _masked(joint, 0.3)
    kerb = _masked(_near(np.abs(p.u), p.road.half_width + 0.08, 0.08), 0.25)
    return Look(1 + slabs * fade + 0.07 * p.grain(16) + kerb)


def grass(p: Patch) -> Look:
    """Turf, with worn spots."""
    return Look(1 + 0.28 * p.grain(8))


def _windows(
    p: Patch, width: float, storey: float, fill_u: np.ndarray | float, fill_v: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which pixels are panes, one random number per window, and how far up the pane."""
    pitch = width * (0.75 + 0.6 * p.chance)
    height = storey * (0.85 + 0.4 * _fraction(p.chance * 7.3))
    across, up = (p.u + 400 * pitch) / pitch, (p.v + 0.6) / height
    fu, fv = _fraction(across), _fraction(up)
    pane = (np.abs(fu - 0.5) < fill_u / 2) & (np.abs(fv - 0.55) < fill_v / 2)
    return pane, p.cell(across, up), fv


def _panes(p: Patch, shade: np.ndarray, width: float, storey: float, fill_u: np.ndarray | float, fill_v: float) -> Look:
    pane, draw, up = _windows(p, width, storey, fill_u, fill_v)
    tone = 0.08 + 0.22 * draw * draw + 0.25 * (up - 0.3)
    return Look(shade, pane, tone, (1.0, 1.06, 1.15), (draw > 0.62) * (draw * 0.8), 0.12)


def plaster(p: Patch) -> Look:
    """Rendered walls with window rows, a darker base and stains."""
    fill = 0.35 + 0.25 * _fraction(p.chance * 13.7)
    shade = 1 + 0.10 * p.grain(5) - _masked(p.v < 0.8, 0.2)
    return _panes(p, shade, 2.4, 3.0, fill, 0.55)


def _courses(p: Patch, length: float, height: float) -> np.ndarray:
    course = p.v / height
    along = p.u / length + 0.5 * (course.astype(np.int32) & 1).astype(np.float32)
    fade = 1 / (1 + p.z / 14)
    joint = (_fraction(course) < 0.16) | (_fraction(along) < 0.07)
    return 1 + fade * (0.35 * (p.cell(along, course) - 0.5) - _masked(joint, 0.22)) + 0.07 * p.grain(1)


def brick(p: Patch) -> Look:
    """Brickwork with windows."""
    return _panes(p, _courses(p, 0.5, 0.2), 2.1, 3.1, 0.42, 0.52)


def brick_wall(p: Patch) -> Look:
    """Brickwork or blocks without windows."""
    return Look(_courses(p, 0.8, 0.4) - _masked(p.v < 0.25, 0.2))


def curtain(p: Patch) -> Look:
    """Mostly glass."""
    return _panes(p, 1 + 0.05 * p.grain(6), 1.5, 3.4, 0.86, 0.72)


def fence(p: Patch) -> Look:
    """Pickets or bars, with what is behind showing dark or green between them."""
    pitch = 0.14 + 0.2 * p.chance
    picket = _fraction(p.u / pitch) < 0.35 + 0.3 * _fraction(p.chance * 5.1)
    rail = np.abs(_fraction(p.v * 1.1) - 0.5) < 0.07
    behind = 0.10 + 0.05 * p.grain(4)
    gap = ~(picket | rail)
    return Look(1 + 0.06 * p.grain(8), gap, behind, (1.0, 1.25, 0.7))


def foliage(p: Patch) -> Look:
    """Clumps of leaves, lighter towards the top."""
    return Look(np.maximum(0.95 + 0.42 * p.grain(7) + 0.035 * p.v, 0.2))


def roof(p: Patch) -> Look:
    """Tiles in rows."""
    return Look(1 + 0.15 * (_fraction(p.v * 3) - 0.5) + 0.10 * p.grain(5))


def paint(p: Patch) -> Look:
    """Lacquer: lighter upwards, with a soft reflection of the surroundings."""
    return Look(0.82 + 0.22 * p.v + 0.08 * p.grain(2) - _masked(_near(p.v, 0.62, 0.03), 0.18))


def glass(p: Patch) -> Look:
    """A window pane reflecting the sky at its top."""
    return Look(0.7 + 0.9 * np.clip(p.v - 0.9, 0, 1.5) + 0.15 * p.grain(3))


def cloth(p: Patch) -> Look:
    """Folds, and stripes on some."""
    stripes = (p.chance > 0.75) & (_fraction(p.v * 7) < 0.5)
    return Look(1 + 0.16 * p.grain(14) - _masked(stripes, 0.35))


def sign(p: Patch) -> Look:
    """A field with a dark symbol."""
    mark = lookup(noise_table(), p.u * 22 + p.chance * 99 + 4096, p.v * 22 + 4096) > 0.5
    return Look(np.ones_like(p.u), mark, 0.06)


def bus_side(p: Patch) -> Look:
    """A long row of windows above a painted flank."""
    pane = (np.abs(p.v - 2.0) < 0.48) & (_fraction(p.u / 1.4 + 40) > 0.1)
    tone = 0.1 + 0.12 * (p.v - 1.4)
    look = paint(p)
    stripe = 1 - _masked(_near(p.v, 1.05, 0.12), 0.4)
    return Look(look.shade * stripe * 0.8, pane, tone, (1.0, 1.0, 1.1), 0.5, 0.1)


TEXTURES: dict[int, Texture] = {
    Material.ASPHALT: asphalt,
    Material.PAVING: paving,
    Material.GRASS: grass,
    Material.PLASTER: plaster,
    Material.BRICK: brick,
    Material.CURTAIN: curtain,
    Material.STONE: brick_wall,
    Material.FENCE: fence,
    Material.FOLIAGE: foliage,
    Material.ROOF: roof,
    Material.PAINT: paint,
    Material.GLASS: glass,
    Material.CLOTH: cloth,
    Material.SIGN: sign,
    Material.BUSSIDE: bus_side,
}


@dataclass(frozen=True)
class Appearance:
    """What light meets at each pixel, before any light; N pixels in the order of the geometry."""

    colour: np.ndarray  # (3, N) float32 reflectance 0 to 1
    glow: np.ndarray  # (N,) float32 light that the texture gives off where lights are on
    heat: np.ndarray  # (N,) float32 warmth that the texture adds


def dress(g: GBuffer) -> Appearance:
    """Apply the textures to the geometry."""
    s, row, first = g.surfaces, g.runs.row, int(g.run_ends[Material.PLAIN + 1])
    colour = np.stack([g.runs.spread(channel) for channel in s.colour[:, row]])
    glow, heat = np.zeros(len(g.order), np.float32), np.zeros(len(g.order), np.float32)
    chance = _fraction(np.arange(len(s.glow), dtype=np.float32) * 0.6180339 + s.colour.sum(0) * 10)
    begin, z = g.ground.start, g.place[2]
    draws = g.runs.spread(chance[row], first)
    u, v = _surface_coordinates(g)
    for kind, texture in TEXTURES.items():
        at = g.of(kind)
        if at.start < at.stop:
            inside = slice(at.start - begin, at.stop - begin)
            look = texture(Patch(u[inside], v[inside], z[at], draws[inside], g.scene.road))
            colour[:, at] *= look.shade
            _cover(look, colour[:, at], glow[at], heat[at])
    return Appearance(np.clip(colour, 0, 1, out=colour), glow, heat)


def _cover(look: Look, colour: np.ndarray, glow: np.ndarray, heat: np.ndarray) -> None:
    """Write what replaces the base colour: panes, lines, symbols."""
    if look.cover is None:
        return
    covered = np.flatnonzero(look.cover)
    tone, light = (a[covered] if isinstance(a, np.ndarray) else a for a in (look.tone, look.glow))
    for channel, tint in zip(colour, look.tint, strict=True):
        channel[covered] = tone * tint
    glow[covered] = light
    heat[covered] = look.heat


def _surface_coordinates(g: GBuffer) -> tuple[np.ndarray, np.ndarray]:
    """Metres along the surface and up it, of the pixels with a texture; on the ground across the road and along it."""
    normal, row, ground = g.surfaces.normal, g.runs.row, g.ground
    along = np.stack([-normal[2], normal[0]])
    size = np.hypot(*along)
    along = np.where(size > 0.05, along / np.maximum(size, 1e-6), np.array([[1], [0]], np.float32))
    start = (along * g.surfaces.origin[[0, 2]]).sum(0)
    first = int(g.run_ends[GROUND_MATERIALS[-1] + 1])
    ax, az, begin = (g.runs.spread(values[row], first) for values in (*along, start))
    x, y, z = g.place[:, ground.stop :]
    return np.concatenate([g.lateral, ax * x + az * z - begin]), np.concatenate([g.place[2, ground], y])
