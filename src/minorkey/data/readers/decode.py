"""The content of a label file to the ids of its data set."""

from dataclasses import dataclass

import numpy as np

from minorkey.data.images import read_ids, read_image, read_low_byte
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
        return apply_id_map(self._ids(file, content), self.lookup, file)

    def _ids(self, file: str, content: bytes) -> np.ndarray:
        if self.spec.encoding == "polygons":
            return read_polygons(content, {name: number for number, name in self.spec.classes.items()}, file)
        if self.spec.encoding == "low_byte":
            return read_low_byte(file, content)
        if (palette := self.spec.palette) is not None:
            return ids_from_colours(read_image(file, content), palette, file)
        return read_ids(file, content)
