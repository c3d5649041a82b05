"""The colours of objects: kinds of paint as rows of a table, mixed for all objects of a scene at once."""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Paint:
    """A range of colours: (low + span u) (1 + hue (h - 1/2)) + own h, u uniform once, h per channel."""

    low: Colour
    span: Colour = (0.0, 0.0, 0.0)
    hue: float = 0.0
    own: Colour = (0.0, 0.0, 0.0)
    twin: bool = False  # half of the objects have the next kind instead


def _times(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _greys(low: float, high: float, tint: float, warm: float = 0.0) -> Paint:
    """Muted colours: a wide range of greys, each pulled a little towards a hue, and all towards ochre."""
    lean = (1 + 0.5 * tint * warm, 1 + 0.05 * tint * warm, 1 - 0.5 * tint * warm)
    return Paint(_times(lean, low), _times(lean, high - low), hue=1.73 * tint)


def _vivid(name: str, share: float) -> dict[str, Paint]:
    """Half greys, half saturated."""
    return {
        name: Paint(_times(WHITE, 0.04 * share), _times(WHITE, 0.72 * share), twin=True),
        f"{name}, saturated": Paint(_times(WHITE, 0.04 * share), own=_times(WHITE, 0.70 * share)),
    }


_LEAF, _SKIN, _BRICK, _TILE = (0.13, 0.20, 0.06), (0.62, 0.42, 0.31), (0.42, 0.22, 0.16), (0.36, 0.17, 0.12)

PAINTS = {
    **_vivid("lacquer", 1.0),
    **_vivid("shirt", 0.85),
    **_vivid("jacket", 0.7),
    **_vivid("trousers", 0.6),
    "skin": Paint(_times(_SKIN, 0.35), _times(_SKIN, 0.9)),
    "hair": _greys(0.03, 0.3, 0.3, 0.8),  # and caps and helmets
    "leaf": Paint(_times(_LEAF, 0.6), _times(WHITE, 0.08), own=_times(_LEAF, 1.1)),  # dark green to yellow
    "trunk": _greys(0.08, 0.25, 0.2, 0.8),
    "metal": _greys(0.1, 0.5, 0.1),
    "skyline": _greys(0.2, 0.5, 0.15),
    "warm masonry": _greys(0.14, 0.78, 0.2, 0.5),
    "cold masonry": _greys(0.14, 0.78, 0.2, -0.7),
    "brick": Paint(_times(_BRICK, 0.6), own=_times(_BRICK, 0.8)),
    "tile": Paint(_times(_TILE, 0.7), _times(_TILE, 0.6)),
    "slate": _greys(0.1, 0.4, 0.15),
    "sign red": Paint((0.70, 0.07, 0.06)),
    "sign blue": Paint((0.07, 0.18, 0.55)),
    "sign white": Paint((0.85, 0.85, 0.82)),
    "sign yellow": Paint((0.85, 0.62, 0.10)),
    "sign green": Paint((0.10, 0.40, 0.20)),
}
"""Every kind of paint by name."""

_NAMES = tuple(PAINTS)
_LOW, _SPAN, _OWN = (np.array([getattr(p, f) for p in PAINTS.values()]) for f in ("low", "span", "own"))
_HUE, _TWIN = np.array([[p.hue] for p in PAINTS.values()]), np.array([p.twin for p in PAINTS.values()])


def kind(name: str) -> int:
    """Row of a paint in the table."""
    return _NAMES.index(name)


def mixed(rng: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
    """One colour (..., 3), reflectance 0 to 1, of each kind of paint (...)."""
    draw = rng.random((*kinds.shape, 5))
    kinds = kinds + ((draw[..., 4] < 0.5) & _TWIN[kinds])
    level, each = draw[..., 3:4], draw[..., :3]
    colour = (_LOW[kinds] + _SPAN[kinds] * level) * (1 + _HUE[kinds] * (each - 0.5)) + _OWN[kinds] * each
    return np.minimum(np.maximum(colour, 0.02), 0.95)
