"""Anyone's own data set: `package.module:attribute[:part]`, or a folder whose `dataset.yaml` names it as `reader`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minorkey.catalog import Catalog
from minorkey.data.boxes import box_faults, clip_boxes, cut_boxes
from minorkey.data.corruptions.naming import split_corruption
from minorkey.data.corruptions.spec import CATALOG
from minorkey.data.readers.reader import Role
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, OutsideError
from minorkey.labels import LabelSpace
from minorkey.labels.tables import read_yaml
from minorkey.system.outside import OUTSIDE, outside_faults, written_by_others

NAME = re.compile(rf"(?P<name>(?=[^:]*\.){OUTSIDE.pattern})(:(?P<part>.*))?")
"""A module in a package: `farm:val` stays the split of a data set."""


@dataclass(frozen=True)
class Asked:
    """What is asked of someone's own data set."""

    part: str  # "val" of `package.module:attribute:val` or `folder:val`; "" where nothing follows
    role: Role
    label_space: LabelSpace | None  # labels are to be its train ids; None: they are not wanted, or classes are named
    data_root: Path | None
    annotation: str = "pixels"  # what is to be labelled: pixels, boxes or category
    folder: Path | None = None  # whose `dataset.yaml` names the data set


class Samples(Protocol):
    """What someone's own data set has to be; its `domain` (a name), `notes` (lines for the user),
    `categories` (the names of its classes) and `key(index)` may be left out."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""


OWN_DATASETS: Catalog[Callable[[Asked], Any]] = Catalog(
    "data set", {}, "a class or function that makes the samples of what is Asked", callable
)


def split_own(spec: str) -> tuple[str, str] | None:
    """`mine.data:Farm:val` as `("mine.data:Farm", "val")`; None: it is no data set of one's own.

    >>> split_own("mine.data:Farm"), split_own("farm:val")
    (('mine.data:Farm', ''), None)
    """
    match = NAME.fullmatch(spec)
    if match is None or Path(spec.partition(":")[0]).exists():
        return None
    return match["name"], match["part"] or ""


def reader_of(folder: Path) -> str | None:
    """What the `dataset.yaml` in a folder names as its `reader`; None: there is none.

    Raises:
        ConfigError: it names anything beside; or the user has not allowed it.
        OutsideError: that cannot be imported, or is not what is expected.
    """
    file = folder / "dataset.yaml"
    content = read_yaml(file) if file.is_file() else None
    if not isinstance(content, dict) or "reader" not in content:
        return None
    if more := sorted(map(str, content.keys() - {"reader"})):
        raise ConfigError(f"{file}: `reader` reads all by itself; leave '{more[0]}' out")
    with written_by_others(file):
        return OWN_DATASETS.checked(str(content["reader"]))


class OwnReader:
    """The samples of someone's own data set as a reader; those of a target lose their labels.

    Args:
        spec: as the user wrote it.
        own: whose, `package.module:attribute`.
        asked: what to read.

    Raises:
        OutsideError: it cannot be made, or is no sequence.
    """

    def __init__(self, spec: str, own: str, asked: Asked) -> None:
        with outside_faults():
            self._samples: Samples = OWN_DATASETS.resolve(own)(asked)
            if not (hasattr(self._samples, "__len__") and hasattr(self._samples, "__getitem__")):
                kind = type(self._samples).__name__
                raise OutsideError(f"data set '{own}' makes a {kind}; expected __len__ and __getitem__ of it")
            self._length = len(self._samples)
        self.name, self._labelled = spec, asked.role != "target"
        self._classes = inf if asked.label_space is None else len(asked.label_space)
        self.domain: str = getattr(self._samples, "domain", own.rpartition(":")[2])
        self.notes: tuple[str, ...] = tuple(getattr(self._samples, "notes", ()))
        self.categories: tuple[str, ...] = tuple(map(str, getattr(self._samples, "categories", ())))

    def __len__(self) -> int:
        """Number of samples."""
        return self._length

    def key(self, index: int) -> str:
        """The key that it gives a sample, or else the sample's place."""
        key = getattr(self._samples, "key", str)
        with outside_faults():
            return key(index)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample."""
        with outside_faults():
            sample = self._samples[index]
        if not isinstance(sample, Sample):
            raise OutsideError(f"data set '{self.name}' gives a {type(sample).__name__}; expected a Sample")
        if sample.image.ndim != 3 or sample.image.dtype not in (np.uint8, np.float32):
            given = f"{sample.image.shape} {sample.image.dtype}"
            raise OutsideError(f"data set '{self.name}' gives an image {given}; expected (H, W, C), uint8 or float32")
        if not self._labelled:
            return Sample(sample.image, self.domain, self.key(index), shown=sample.shown)
        return replace(self._boxed(sample, index), domain=self.domain, key=self.key(index))

    def _boxed(self, sample: Sample, index: int) -> Sample:
        """A sample whose boxes, if it has any, lie in its image and have a class each; by itself, none is a crowd."""
        if sample.boxes is None:
            return sample
        boxes = np.asarray(sample.boxes, np.float32).reshape(-1, 4)
        classes = np.asarray([] if sample.box_classes is None else sample.box_classes)
        crowd = np.zeros(len(boxes), bool) if sample.crowd is None else np.asarray(sample.crowd, bool)
        where = f"data set '{self.name}', sample '{self.key(index)}'"
        if not classes.shape == crowd.shape == (len(boxes),):
            given = f"{len(boxes)} boxes, box_classes {classes.shape} and crowd {crowd.shape}"
            raise OutsideError(f"{where} gives {given}; expected a class and a mark for each box")
        whole = classes.dtype.kind in "iu" or not len(classes)
        if wrong := [number for number in classes.tolist() if not (whole and 0 <= number < self._classes)]:
            expected = "0 and up" if self._classes == inf else f"0 to {self._classes - 1}"
            raise OutsideError(f"{where} gives class {wrong[0]!r}; expected train ids, whole numbers from {expected}")
        height, width = sample.image.shape[:2]
        for box, fault in zip(boxes.tolist(), box_faults(boxes, width, height), strict=True):
            if fault is not None:
                raise OutsideError(f"{where} gives box {box}, which is {fault} in an image of {width}x{height}")
        cut = int(cut_boxes(boxes, width, height).sum())
        boxes = clip_boxes(boxes, width, height)
        return replace(sample, boxes=boxes, box_classes=classes.astype(np.int64), crowd=crowd, cut=sample.cut + cut)


def outside_parts(spec: str) -> Iterator[tuple[Catalog[Any], str]]:
    """What is from outside in the name of a data set: the data set, its corruption; each with the catalog of its kind.

    >>> [name for _, name in outside_parts("mine.data:Farm:val+mine.looks:dark@2")]
    ['mine.data:Farm', 'mine.looks:dark']
    """
    base, corruption = split_corruption(spec)
    if own := split_own(base):
        yield OWN_DATASETS, own[0]
    for each in corruption.split("+") if corruption else ():
        if OUTSIDE.fullmatch(name := each.partition("@")[0]):
            yield CATALOG, name


def taken(spec: str) -> str:
    """The name of a data set, once what of it is from outside is admitted: validates a field of options.

    Nothing is imported: a command that opens no data needs no code of theirs.

    Raises:
        ConfigError: a file that may not do so names something from outside.
    """
    for catalog, name in outside_parts(spec):
        catalog.admitted(name)
    return spec
