"""What a reader is: a list of samples of one domain, with labels in the label space of the run."""

from typing import Literal, Protocol

from minorkey.data.sample import Sample

Role = Literal["source", "target", "validation", "unseen"]
"""What a data set is for: `source` is trained on with its labels, `target` without, `validation` are images of a source
that are judged on, `unseen` is judged on only."""


class Reader(Protocol):
    """Samples of one domain by index; reading is lazy and depends on nothing but the index."""

    @property
    def name(self) -> str:
        """How the data set was asked for, e.g. `camvid:val`."""

    @property
    def domain(self) -> str:
        """The domain that its samples carry, e.g. `camvid` or `night`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the samples, a line each, e.g. which pairs were left out and why."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""

    def key(self, index: int) -> str:
        """The key of a sample, without reading it."""


class Categorised(Reader, Protocol):
    """A reader that names the classes of its data set, as all do that are opened with `label_space=None`.

    One with colours for its classes has them as `colours`, a mapping of class name -> RGB, too. Neither is asked for
    where the classes of the run are known, so that what takes long to find out may be found out then.
    """

    @property
    def categories(self) -> tuple[str, ...]:
        """The classes by their names, in the order of their train ids; without what is left out, e.g. `ignore`."""


class ReaderAround:
    """The samples of another reader, as many and under the same keys; a subclass says what becomes of them."""

    def __init__(self, reader: Reader) -> None:
        self.name, self.domain, self.notes = reader.name, reader.domain, reader.notes
        self._reader = reader

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._reader)

    def key(self, index: int) -> str:
        """The key of a sample, without reading it."""
        return self._reader.key(index)
