"""The content of a label file to the ids of its data set."""

import hashlib
from dataclasses import dataclass

import numpy as np

from minorkey.data.label_images import read_colours, read_ids, read_low_byte
from minorkey.data.polygons import read_polygons
from minorkey.data.readers.spec import DatasetSpec
from minorkey.labels import LabelSpace, apply_id_map, ids_from_colours


@dataclass(frozen=True)
class LabelDecoder:
    """Reads the label files of a data set in a label space."""

    spec: DatasetSpec
    lookup: np.ndarray  # (256,) int16, id -> train id

    @classmethod
    def of(cls, spec: DatasetSpec, space: LabelSpace) -> "LabelDecoder":
        """For the files of `spec`.

        Raises:
            ConfigError: the label space has no place for a class of the data set.
        """
        return cls(spec, spec.lookup(space))

    def train_ids(self, file: str, content: bytes) -> np.ndarray:
        """The label file as (H, W) uint8 train ids; `file` is named in errors.

        Raises:
            DataError: it is broken, or holds ids, colours or classes that no map names.
        """
        return self.map(self.ids(file, content), file)

    def map(self, ids: np.ndarray, file: str) -> np.ndarray:
        """Ids of the data set `(H, W)` as uint8 train ids; `file` is named in errors.

        Raises:
            DataError: some are ids that no map names.
        """
        return apply_id_map(ids, self.lookup, file)

    @property
    def kind(self) -> str:
        """Names what `ids` makes of a file: the same for all data sets that are read alike, whatever their classes."""
        if self.spec.encoding == "polygons":
            return _named("polygons", repr(sorted(self.spec.classes.items())).encode())
        if self.spec.encoding == "low_byte" or self.spec.palette is None:
            return self.spec.encoding
        return _named("colours", self.spec.palette.tobytes())

    def ids(self, file: str, content: bytes) -> np.ndarray:
        """The label file as (H, W) ids of its data set; `file` is named in errors.

        Raises:
            DataError: it is broken, or holds colours or classes that no map names.
        """
        if self.spec.encoding == "polygons":
            return read_polygons(content, {name: number for number, name in self.spec.classes.items()}, file)
        if self.spec.encoding == "low_byte":
            return read_low_byte(file, content)
        if (palette := self.spec.palette) is not None:
            return ids_from_colours(read_colours(file, content), palette, file)
        return read_ids(file, content)


def _named(kind: str, table: bytes) -> str:
    return f"{kind}-{hashlib.blake2b(table, digest_size=8).hexdigest()}"
