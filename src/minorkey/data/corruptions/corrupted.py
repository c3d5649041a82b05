"""A labelled data set seen under a corruption: a domain of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from minorkey.data.corruptions.naming import Corruption

if TYPE_CHECKING:  # readers import this package
    from minorkey.data.readers.reader import Reader
    from minorkey.data.sample import Sample


class CorruptedReader:
    """The samples of another reader with their images corrupted; labels, depth, boxes and keys stay."""

    def __init__(self, reader: Reader, corruption: str) -> None:
        """Choose the corruption.

        Args:
            reader: of any domain.
            corruption: e.g. `night@3`.

        Raises:
            ConfigError: unknown corruption or severity.
        """
        self._reader = reader
        self._corruption = Corruption.parse(corruption)
        self.name = f"{reader.name}+{self._corruption}"
        self.domain = f"{reader.domain}+{self._corruption}"
        self.notes = reader.notes

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._reader)

    def key(self, index: int) -> str:
        """The key of a sample in the clean domain."""
        return self._reader.key(index)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample and corrupt its image."""
        sample = self._reader[index]
        return replace(sample, image=self._corruption.apply(sample.image, sample.key), domain=self.domain)
