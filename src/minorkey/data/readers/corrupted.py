"""A labelled data set seen under a corruption: a domain of its own."""

from dataclasses import replace

import numpy as np

from minorkey.data.corruptions import Corruption
from minorkey.data.readers.reader import Reader, ReaderAround
from minorkey.data.sample import Sample
from minorkey.errors import DataError


class CorruptedReader(ReaderAround):
    """The samples of another reader with their images corrupted; labels, depth, boxes and keys stay."""

    def __init__(self, reader: Reader, corruption: str) -> None:
        """Choose the corruption.

        Args:
            reader: of any domain.
            corruption: e.g. `night@3`.

        Raises:
            ConfigError: unknown corruption or severity.
        """
        super().__init__(reader)
        self._corruption = Corruption.parse(corruption)
        self.name = f"{reader.name}+{self._corruption}"
        self.domain = f"{reader.domain}+{self._corruption}"

    def __getitem__(self, index: int) -> Sample:
        """Read a sample and corrupt its image.

        Raises:
            DataError: it is no 8-bit RGB.
        """
        sample = self._reader[index]
        if sample.image.dtype != np.uint8 or sample.image.shape[2] != 3:
            raise DataError(
                f"{self.name}: corruptions are of 8-bit RGB, and '{sample.key}' is something else; leave them out"
            )
        return replace(sample, image=self._corruption.apply(sample.image, sample.key), domain=self.domain)
