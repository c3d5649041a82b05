"""What a look at every image of a data set comes to; all of it pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minorkey.data.looks import looks
from minorkey.data.readers import Reader
from minorkey.data.readers.joined import disk_readers
from minorkey.data.records import TINY_SIDE, Record
from minorkey.data.statistics import class_frequencies, count_classes
from minorkey.datacheck.targets import Opened, Use
from minorkey.labels import LabelSpace
from minorkey.tasks.counted import Counted
from minorkey.tasks.table import task_named


@dataclass(frozen=True)
class OwnClass:
    """A class of a data set as its files have it."""

    name: str
    becomes: str  # the class of the label space that it counts as, or that it is ignored
    count: int  # pixels, boxes or images


@dataclass(frozen=True)
class Findings:
    """What was found in a data set."""

    name: str
    domain: str
    use: Use
    images: int  # in the data set
    looked_at: int
    sizes: dict[str, int]  # "width x height" -> images, from small to large
    unlabelled: int  # images
    ignored: float  # share of the pixels of labelled images that belong to no class
    counts: dict[str, int]  # class -> pixels, boxes or images
    frequencies: dict[str, float]  # class -> its share of them
    images_with: dict[str, int]  # class -> images that show it
    own: list[OwnClass]  # the classes of the data set itself; none where it is not of files on disk
    turned: int  # labelled images that their EXIF orientation turns
    empty: list[str]  # keys of images whose labels name no class, or without boxes
    crowd: int  # boxes that are neither trained nor judged on
    tiny: dict[str, int]  # key -> boxes with a side below records.TINY_SIDE pixels
    cut: dict[str, int]  # key -> boxes that reach over the edge of the image
    notes: list[str]  # what its reader says of it
    problems: list[str]  # one line per image that cannot be used

    @property
    def median_size(self) -> str:
        """The size of the image in the middle, by pixels."""
        ordered = list(Counter(self.sizes).elements())
        return ordered[len(ordered) // 2] if ordered else ""


@dataclass(frozen=True)
class Check:
    """Everything that was found."""

    target: str
    task: str
    label_space: str
    data: list[Findings]
    problems: list[str] = field(default_factory=list)  # data sets that cannot be opened
    warnings: list[str] = field(default_factory=list)  # what a training gets through, whether it is meant or not
    taken: list[str] = field(default_factory=list)  # what a folder was taken for, and why
    command: str = ""  # that trains on a data set; empty where something is in its way

    @property
    def counted(self) -> Counted:
        """How it is spoken of labels."""
        return task_named(self.task).counted

    @property
    def all_problems(self) -> list[str]:
        """What would stop a training or its evaluation."""
        return [*self.problems, *(line for each in self.data for line in each.problems)]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"ok": not self.all_problems, **asdict(self)}


def findings(opened: Opened, records: Sequence[Record], space: LabelSpace) -> Findings:
    """What the records of a data set say of it."""
    good = [record for record in records if not record.problem]
    labelled = [record for record in good if record.counts is not None]
    counts = count_classes(good, len(space)).counts
    ignored = sum(record.ignored for record in labelled)
    sizes = Counter(record.size for record in good)
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return Findings(
        name=opened.reader.name,
        domain=opened.reader.domain,
        use=opened.use,
        images=len(opened.reader),
        looked_at=len(records),
        sizes={f"{width}x{height}": sizes[width, height] for width, height in ordered},
        unlabelled=len(good) - len(labelled),
        ignored=ignored / max(1, ignored + int(counts.sum())),
        counts=dict(zip(space.classes, counts.sum(axis=0).tolist(), strict=True)),
        frequencies=dict(zip(space.classes, class_frequencies(counts).tolist(), strict=True)),
        images_with=dict(zip(space.classes, (counts > 0).sum(axis=0).tolist(), strict=True)),
        own=_own_classes(opened.reader, labelled),
        turned=sum(record.turned for record in labelled),
        empty=[record.key for record in labelled if not any(record.counts or ())],
        crowd=sum(record.crowd for record in labelled),
        tiny={record.key: record.tiny for record in labelled if record.tiny},
        cut={record.key: record.cut for record in labelled if record.cut},
        notes=[*opened.reader.notes, *looks(opened.reader)],
        problems=[record.problem for record in records if record.problem],
    )


def _own_classes(reader: Reader, labelled: Sequence[Record]) -> list[OwnClass]:
    counts: Counter[str] = Counter()
    becomes: dict[str, str] = {}
    for record in labelled:
        counts.update(record.own or {})
    for part in disk_readers(reader):
        counts.update(part.left_out)
        becomes.update(part.becomes())
    return [OwnClass(name, target, counts[name]) for name, target in becomes.items()]


def suspicions(data: Sequence[Findings], counted: Counted) -> list[str]:
    """What a training gets through, whether it is meant or not."""
    notes = [f"{each.name}: {note}" for each in data for note in each.notes]
    return [
        *notes,
        *_shared_domains(data),
        *_turned_images(data),
        *_missing_labels(data, counted.empty),
        *_odd_boxes(data),
        *_missing_classes(data),
    ]


def _shared_domains(data: Sequence[Findings]) -> list[str]:
    sources = {each.domain: each.name for each in data if each.use == "trained on"}
    return [
        f"{each.name} counts as unseen, but its domain '{each.domain}' is trained on as {sources[each.domain]}"
        for each in data
        if each.use == "unseen" and each.domain in sources
    ]


def _missing_labels(data: Sequence[Findings], empty: str) -> list[str]:
    lines = []
    for each in data:
        if each.unlabelled and each.use != "adapted to":
            lines.append(f"{each.name}: {each.unlabelled} of {each.looked_at} images have no labels")
        if each.empty:
            lines.append(f"{each.name}: {len(each.empty)} of {each.looked_at} images {empty}: {_some(each.empty)}")
    return lines


def _turned_images(data: Sequence[Findings]) -> list[str]:
    """Images that are turned as viewers do, where sizes may not show which pixels their annotations are of."""
    return [
        f"{each.name}: {each.turned} of {each.looked_at} images carry an EXIF orientation and are turned upright; "
        "their annotations are turned with them only where sizes show that they are of the pixels as stored: look "
        "whether the others fit (--out), and remove the orientation from the files if they do not"
        for each in data
        if each.turned
    ]


def _odd_boxes(data: Sequence[Findings]) -> list[str]:
    """Boxes that are hard to learn, and those that are not learnt."""
    lines = []
    for each in data:
        if each.tiny:
            tiny = (
                f"{sum(each.tiny.values())} of {sum(each.counts.values())} boxes have a side below {TINY_SIDE:g} pixels"
            )
            lines.append(f"{each.name}: {tiny}: {_some(list(each.tiny))}")
        if each.cut:
            cut = f"{sum(each.cut.values())} boxes reach over the edge of their image and are clipped to it"
            lines.append(f"{each.name}: {cut}: {_some(list(each.cut))}")
        if each.crowd:
            lines.append(f"{each.name}: {each.crowd} crowd boxes are neither trained nor judged on")
    return lines


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")


def _missing_classes(data: Sequence[Findings]) -> list[str]:
    """Classes that occur nowhere, and those that are judged but not trained."""
    shown = {use: _classes_in(data, use) for use in ("data set", "trained on", "judged on", "unseen")}
    classes = list(data[0].frequencies) if data else []
    nowhere = [name for name in classes if not any(name in names for names in shown.values())]
    judged = [name for name in classes if name in shown["judged on"] | shown["unseen"]]
    untrained = [name for name in judged if name not in shown["trained on"]]
    lines = []
    if nowhere:
        lines.append(f"classes that occur nowhere: {', '.join(nowhere)}")
    if untrained:
        lines.append(f"classes that are judged but occur in nothing that is trained on: {', '.join(untrained)}")
    if lines and any(each.looked_at < each.images for each in data):
        lines.append("only a part of the images was looked at: rare classes may occur in the others")
    return lines


def _classes_in(data: Sequence[Findings], use: Use) -> set[str]:
    return {name for each in data if each.use == use for name, share in each.frequencies.items() if share > 0}
