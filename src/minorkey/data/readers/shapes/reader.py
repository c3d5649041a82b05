"""The reader of images whose labels are drawn from shapes."""

import numpy as np

from minorkey.data.readers.lists import listed_images
from minorkey.data.readers.on_disk import Part
from minorkey.data.readers.paired import Pair, PairedReader
from minorkey.data.readers.pairing import ANNOTATION_SUFFIXES
from minorkey.data.readers.pattern import Pattern
from minorkey.data.readers.shapes.shape import Shape, drawn
from minorkey.data.readers.shapes.sources import OfFiles, OfTable, open_shapes
from minorkey.data.readers.spec import BACKGROUND, DatasetSpec
from minorkey.errors import DataError
from minorkey.labels import plain_name


class DrawnReader(PairedReader):
    """Images with or without labels, which are drawn from outlines and masks and mapped to a label space while reading.

    Takes what a `PairedReader` takes, and raises what it raises; `DataError` also where outlines are broken.
    """

    _source: OfTable | OfFiles | None = None

    def _find(self, spec: DatasetSpec, part: Part) -> tuple[list[Pair], list[str]]:
        images, notes = listed_images(part.files, spec, spec.lists, part.split, part.place)
        if part.space is not None and part.split not in spec.unlabelled:
            known = spec.known(part.split, part.place)
            pattern = Pattern(spec.labels, ANNOTATION_SUFFIXES, known)
            self._source, images = open_shapes(part.files, spec.encoding, pattern, known["split"], images, spec.classes)
            notes += self._source.notes
        self._numbers = {plain_name(name): number for number, name in spec.classes.items()}
        return [Pair(key, image, of) for key, (of, image) in images.items()], notes

    def _labelled(self, index: int) -> bool:
        return self._source is not None

    def _ids(self, index: int, image: np.ndarray | None = None) -> tuple[np.ndarray, str]:
        assert self._source is not None
        pair, where = self._images[index], self.where(index)
        height, width = (self._read(pair) if image is None else image).shape[:2]
        assert pair.labels is not None
        shapes, said = self._source.shapes(pair.labels, (width, height))
        ids = {shape.name: self._number(shape, where) for shape in shapes}
        size = said if all(said) else (width, height)
        return drawn(shapes, ids, self._numbers[BACKGROUND], size), f"what is drawn on {where}"

    def _number(self, shape: Shape, where: str) -> int:
        number = self._numbers.get(plain_name(shape.name))
        if number is None:
            raise DataError(
                f"{where}: shape {shape.number} is of class '{shape.name}', which no map names; add it to the `ids` of "
                "the data set"
            )
        return number
