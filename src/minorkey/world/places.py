"""The kinds of place: one row of architecture, planting and road layout each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """A kind of place."""

    stream: int  # keeps the random streams of the places apart
    buildings: tuple[str, ...]
    trees: tuple[str, ...]
    heights: tuple[float, float]  # metres
    frontage: tuple[float, float]  # metres of a lot along the road
    odds: tuple[float, float, float, float]  # a lot has a building, a wall, a fence, or nothing
    pitched: float  # chance that a low building has a pitched roof
    setback: tuple[float, float]  # metres from the pavement to the fronts
    road_half: tuple[float, float]  # metres, half the width of the carriageway
    pavement: tuple[float, float]  # metres
    verges: float  # chance of a strip of grass beside a pavement
    bend: float  # largest curvature, 1/m
    keeps_left: bool
    masonry: str  # a key of `PAINTS`
    line: tuple[float, float, float]  # reflectance of the road markings
    tar: tuple[float, float, float]  # tint of the carriageway


LAYOUTS = {
    "town": Layout(
        stream=1,
        buildings=("plaster", "brick", "plaster", "curtain"),
        trees=("tree0", "tree1", "tree2"),
        heights=(5, 22),
        frontage=(7, 18),
        odds=(0.54, 0.18, 0.18, 0.10),
        pitched=0.45,
        setback=(0.0, 2.5),
        road_half=(3.4, 6.6),
        pavement=(2.0, 4.0),
        verges=0.4,
        bend=0.0012,
        keeps_left=False,
        masonry="warm masonry",
        line=(0.82, 0.82, 0.80),
        tar=(1.0, 1.0, 1.02),
    ),
    "suburb": Layout(
        stream=2,
        buildings=("curtain", "curtain", "plaster"),
        trees=("conifer0", "conifer1"),
        heights=(3, 42),
        frontage=(8, 22),
        odds=(0.42, 0.23, 0.20, 0.15),
        pitched=0.8,
        setback=(2.0, 7.0),
        road_half=(4.4, 7.4),
        pavement=(1.2, 2.6),
        verges=0.9,
        bend=0.0026,
        keeps_left=True,
        masonry="cold masonry",
        line=(0.85, 0.66, 0.20),
        tar=(1.25, 1.0, 0.78),
    ),
}
"""Every kind of place by name."""
