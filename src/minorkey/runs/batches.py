"""A run as a function of batches of arrays, for engines that bring their own data and workers."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minorkey.errors import ConfigError, unknown
from minorkey.tasks.predictor import Predictor


class BatchPredictor:
    """Predicts a batch of columns: what Ray Data's `map_batches` and Spark's `mapInPandas` call in their workers.

    It can be pickled, being no more than a path and names, and loads the model in the process that first calls it.

    >>> BatchPredictor("runs/soma", columns=("labels",)).columns
    ('labels',)

    Args:
        run: folder of a finished run, which every worker can read.
        image: the column of images: arrays `(H, W, 3)` uint8 RGB, of one size or not, or paths.
        columns: attributes of a prediction that become columns. None: `labels` of segmentation; of detection `boxes`,
            `scores` and `classes`; of classification `category` and `confidence`.
        device: where the model runs.
        allow_outside: let the run name code that is not of this package, and run it, in every worker.

    Raises:
        ConfigError: `columns` is one name in place of several.
    """

    def __init__(
        self,
        run: str | Path,
        image: str = "image",
        columns: Sequence[str] | None = None,
        device: str = "auto",
        *,
        allow_outside: bool = False,
    ) -> None:
        if isinstance(columns, str):
            raise ConfigError(f"columns is a list of names, got '{columns}'; write columns=['{columns}']")
        self.run, self.image, self.device = str(run), image, device
        self.columns = None if columns is None else tuple(columns)
        self.allow_outside = allow_outside
        self._predictor: Predictor | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with a column for each of `columns`, a row for each image.

        Raises:
            ConfigError: predictions of this task have no such attribute, or the batch no such column of images.
            DataError: an image is none.
        """
        if self.image not in batch:
            raise ConfigError(unknown("column of the batch", self.image, list(batch)))
        columns = self._columns()
        predictions = [prediction for _, prediction in self.predictor.map(list(batch[self.image]))]
        return {**batch, **{name: _column([getattr(each, name) for each in predictions]) for name in columns}}

    def _columns(self) -> Sequence[str]:
        kind = self.predictor.prediction_type
        if self.columns is None:
            return kind.columns
        if is_dataclass(kind):  # an outsider's need be none
            there = [name for name in dir(kind) if isinstance(getattr(kind, name), property)]
            there += [each.name for each in fields(kind) if each.default is MISSING]
            for name in self.columns:
                if name not in there:
                    raise ConfigError(unknown("attribute of a prediction", name, there))
        return self.columns

    @property
    def predictor(self) -> Predictor:
        """The model, loaded once in a process."""
        if self._predictor is None:
            from minorkey.runs.load import load

            self._predictor = load(self.run, device=self.device, allow_outside=self.allow_outside)
        return self._predictor

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_predictor": None}


def _column(values: Sequence[Any]) -> np.ndarray:
    """One array of all rows where they have one shape, else an array of arrays."""
    arrays = [np.asarray(value) for value in values]
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    column = np.empty(len(arrays), dtype=object)
    for row, array in enumerate(arrays):
        column[row] = array
    return column
