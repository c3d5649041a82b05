"""Several splits of a data set as one."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from minorkey.data.readers.reader import Reader
from minorkey.data.sample import Sample


class Joined:
    """The samples of several readers of one domain, one reader after the other.

    The split of a sample is put before its key, `train/0001`, for splits may share names.
    """

    def __init__(self, readers: Sequence[Reader], splits: Sequence[str], *, name: str) -> None:
        """Join the readers of the splits; `name` is how they were asked for together."""
        self.name, self.domain = name, readers[0].domain
        parts = zip(splits, readers, strict=True)
        self.notes = tuple(f"{split}: {note}" for split, reader in parts for note in reader.notes)
        self._readers, self._splits = tuple(readers), tuple(splits)
        self._ends = list(accumulate(map(len, readers)))

    def __len__(self) -> int:
        """Number of samples of all splits."""
        return self._ends[-1]

    def key(self, index: int) -> str:
        """The split of a sample and its key there, without reading it."""
        part, place = self._place(index)
        return f"{self._splits[part]}/{self._readers[part].key(place)}"

    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""
        part, place = self._place(index)
        return replace(self._readers[part][place], key=self.key(index))

    def _place(self, index: int) -> tuple[int, int]:
        """Which reader has a sample, and where."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        part = bisect(self._ends, index)
        return part, index - (self._ends[part - 1] if part else 0)
