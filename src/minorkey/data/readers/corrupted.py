"""A labelled data set seen under a corruption: a domain of its own."""

from dataclasses import replace

from minorkey.data.corruptions import Corruption
from minorkey.data.readers.reader import Reader, ReaderAround
from minorkey.data.sample import Sample


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
        """Read a sample and corrupt its image."""
        sample = self._reader[index]
        return replace(sample, image=self._corruption.apply(sample.image, sample.key), domain=self.domain)
