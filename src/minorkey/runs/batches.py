"""A run as a function of batches of arrays, for engines that bring their own data and workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.tasks.predictor import Predictor


class BatchPredictor:
    """Predicts a batch of columns: what Ray Data's `map_batches` and Spark's `mapInPandas` call in their workers.

    It can be pickled, being no more than a path and names, and loads the model in the process that first calls it.

    >>> BatchPredictor("runs/soma").columns
    ('labels',)

    Args:
        run: folder of a finished run, which every worker can read.
        image: the column of images: arrays `(H, W, 3)` uint8 RGB, of one size or not, or paths.
        columns: attributes of a prediction that become columns: `labels` of segmentation, the default; of detection
            `boxes`, `scores`, `classes`.
        device: where the model runs.
        allow_outside: let the run name code that is not of this package, and run it, in every worker.
    """

    def __init__(
        self,
        run: str | Path,
        image: str = "image",
        columns: tuple[str, ...] = ("labels",),
        device: str = "auto",
        *,
        allow_outside: bool = False,
    ) -> None:
        self.run, self.image, self.columns, self.device = str(run), image, columns, device
        self.allow_outside = allow_outside
        self._predictor: Predictor | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with a column for each of `columns`, a row for each image.

        Raises:
            DataError: an image is none.
        """
        predictions = [prediction for _, prediction in self.predictor.map(list(batch[self.image]))]
        return {**batch, **{name: _column([getattr(each, name) for each in predictions]) for name in self.columns}}

    @property
    def predictor(self) -> Predictor:
        """The model, loaded once in a process."""
        if self._predictor is None:
            from minorkey.runs.load import load

            self._predictor = load(self.run, device=self.device, allow_outside=self.allow_outside)
        return self._predictor

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_predictor": None}


def _column(arrays: list[np.ndarray]) -> np.ndarray:
    """One array of all rows where they have one shape, else an array of arrays."""
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    column = np.empty(len(arrays), dtype=object)
    column[:] = arrays
    return column
