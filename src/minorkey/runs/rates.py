"""Which learning rate to take of a grid that goes on where its best rate is at an edge."""

from collections.abc import Callable, Sequence

EXTENSIONS = 2
"""How often a grid goes on."""


def _rounded(rate: float, edge: float) -> float:
    """A rate beyond an edge of the grid, in as few digits as leave it there."""
    for digits in range(1, 18):
        short = float(f"{rate:.{digits}g}")
        if (short - edge) * (rate - edge) > 0:
            break
    return short


def choose_rate(
    grid: Sequence[float],
    score_of: Callable[[float], float | None],
    extensions: int = EXTENSIONS,
    tolerance: float = 0.0,
) -> tuple[float | None, list[float]]:
    """The best rate, or the lowest that is nearly as good, or those whose scores are missing to choose it.

    Args:
        grid: of rates; one alone leaves nothing to choose.
        score_of: the score of a rate, the higher the better; None: it is not known yet.
        extensions: how often a rate beyond the best one is tried, where that is at an edge.
        tolerance: by how much the score of the rate that is taken may be below the best one, at least 0.

    >>> scores = {1e-4: 0.5, 1e-3: 0.6, 1e-2: 0.7}
    >>> choose_rate([1e-4, 1e-3, 1e-2], scores.get)
    (None, [0.1])
    >>> choose_rate([1e-4, 1e-3, 1e-2], (scores | {0.1: 0.0}).get)
    (0.01, [])
    >>> choose_rate([1e-4, 1e-3, 1e-2], (scores | {0.1: 0.0}).get, tolerance=0.125)
    (0.001, [])
    """
    grid = sorted(grid)
    if len(grid) == 1:
        return grid[0], []
    factor = grid[-1] / grid[-2]
    for _ in range(extensions + 1):
        scores = {rate: score for rate in grid if (score := score_of(rate)) is not None}
        if missing := [rate for rate in grid if rate not in scores]:
            return None, missing
        best = max(scores, key=scores.__getitem__)
        if best not in (grid[0], grid[-1]):
            break
        beyond = _rounded(best * factor if best == grid[-1] else best / factor, best)
        grid = sorted([*grid, beyond])
    return min(rate for rate, score in scores.items() if score >= scores[best] - tolerance), []
