"""The painted image as runs of pixels of one surface, sorted so that one material is one slice."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Runs:
    """Neighbouring pixels of one line that show one surface; R runs of N pixels."""

    row: np.ndarray  # (R,) row of the table of surfaces
    start: np.ndarray  # (R,) number of the first pixel, counted line by line
    length: np.ndarray  # (R,) pixels

    @staticmethod
    def of(rows: np.ndarray) -> "Runs":
        """The runs of an image (H, W) of rows, line by line."""
        flat = rows.ravel()
        begins = np.empty(len(flat), bool)
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        begins[:: rows.shape[1]] = True
        start = np.flatnonzero(begins)
        return Runs(flat[start], start, np.diff(start, append=len(flat)))

    def sorted_by(self, key: np.ndarray) -> "Runs":
        """The runs in the order of a key (R,); runs of one key stay in the order of the lines."""
        order = np.argsort(key, kind="stable")
        return Runs(self.row[order], self.start[order], self.length[order])

    def spread(self, values: np.ndarray, begin: int = 0, end: int | None = None) -> np.ndarray:
        """One value per run (R,) to one per pixel (N,), or for the runs `begin` to `end` only."""
        return np.repeat(values[begin:end], self.length[begin:end])
