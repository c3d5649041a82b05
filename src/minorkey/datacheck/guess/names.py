"""How the files of a data set are named: folders that say what is in them and of which split, and what names share."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from minorkey.data.readers.splits import SPLITS, split_called
from minorkey.errors import DataError

# fmt: off
PHOTOS = frozenset((
    "camera", "frames", "image", "image_2", "images", "img", "img_dir", "imgs", "input", "inputs", "jpegimages",
    "leftimg8bit", "photo", "photos", "rgb",
))
"""Names of folders of images, in lower case."""

LABELS = frozenset((
    "ann", "ann_dir", "annot", "annotation", "annotations", "anns", "ground_truth", "gt", "gtfine", "label", "label_2",
    "labels", "mask", "masks", "seg", "segmentation", "segmentationclass", "segmentations", "semantic", "targets",
    "truth",
))
"""Names of folders of what is said of them."""
# fmt: on

JOINTS = "_. -"
"""Between the part of a name that is an image's own and what all names share."""

TRIED = 5
"""Images of a split whose names are compared with those of all labels."""


@dataclass(frozen=True)
class Group:
    """The files of one kind of folder."""

    folder: str  # with {split} for the split, and a slash behind it; "" for the folder itself
    role: str  # photos, labels or "" where no folder says it
    files: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))  # split -> key -> name

    @property
    def ending(self) -> str:
        """The suffix of all the files, `.*` where they have several."""
        found = {os.path.splitext(name)[1] for keys in self.files.values() for name in keys.values()}
        return found.pop() if len(found) == 1 else ".*"


@dataclass(frozen=True)
class Affix:
    """What names have before and behind the part that is an image's own."""

    before: str = ""
    behind: str = ""

    def key(self, stem: str) -> str | None:
        """That part of a name, which may have folders before it; None: it is of another form."""
        folder, slash, name = stem.rpartition("/")
        whole = len(name) > len(self.before) + len(self.behind)
        if not whole or not name.startswith(self.before) or not name.endswith(self.behind):
            return None
        return folder + slash + name[len(self.before) : len(name) - len(self.behind)]

    def pattern(self, group: Group, ending: str) -> str:
        """As `data.readers.pattern` reads it."""
        return f"{group.folder}{self.before}{{key}}{self.behind}{ending}"


@dataclass(frozen=True)
class Pairs:
    """Images and what belongs to them."""

    images: str  # pattern
    labels: str  # pattern
    splits: dict[str, str]  # split -> its folder; none where folders do not say
    unlabelled: list[str]  # splits of which there are images alone
    found: list[str]  # names of what belongs to an image
    alone: int  # images that have nothing


def groups_of(names: Iterable[str], suffixes: Iterable[str]) -> list[Group]:
    """The files with one of these suffixes by their folders."""
    found: dict[tuple[str, str, str], Group] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in suffixes:
            folder, split, role, key = _read_name(stem)
            kind = (folder, role, "" if role else suffix.lower())  # where no folder says it, the suffix may
            found.setdefault(kind, Group(folder, role)).files[split][key] = name
    return list(found.values())


def _read_name(stem: str) -> tuple[str, str, str, str]:
    """The folder, split, role and key of a file, from its relative name without suffix."""
    *folders, _ = parts = stem.split("/")
    split, role, end = "", "", 0
    for place, part in enumerate(folders):
        template, here, meaning = _read_folder(part)
        if (here and not split) or (meaning and not role):
            split, role, end = split or here, role or meaning, place + 1
            parts[place] = template if here == split else part
    return "".join(f"{part}/" for part in parts[:end]), split, role, "/".join(parts[end:])


def _read_folder(part: str) -> tuple[str, str, str]:
    """A folder as a pattern, the split that it is of and what is in it: `train_masks` is `{split}_masks`."""
    low = part.lower()
    if split_called(part):
        return "{split}", part, ""
    if role := _role(low):
        return part, "", role
    for name in sorted(SPLITS, key=len, reverse=True):
        if low.startswith(name) and (role := _role(low[len(name) :].strip(JOINTS))):
            return "{split}" + part[len(name) :], part[: len(name)], role
        if low.endswith(name) and (role := _role(low[: -len(name)].strip(JOINTS))):
            return part[: -len(name)] + "{split}", part[-len(name) :], role
    return part, "", ""


def are_pairs(folders: Iterable[str]) -> bool:
    """Whether folders are called as images and what is said of them are, rather than as classes.

    >>> are_pairs(["images", "masks"]), are_pairs(["train", "train_labels"]), are_pairs(["mask", "no_mask"])
    (True, True, False)
    """
    read = [_read_folder(name) for name in folders]
    labels = any(role == "labels" for _, _, role in read)
    return labels and any(role == "photos" or (split and not role) for _, split, role in read)


def _role(name: str) -> str:
    return "photos" if name in PHOTOS else "labels" if name in LABELS else ""


def paired(photos: Iterable[Group], labels: Iterable[Group]) -> Pairs | None:
    """The images and labels that most names bring together; None: none do."""
    labels = list(labels)
    tried = [_pair(one, other) for one in photos if one.role != "labels" for other in labels if other.role != "photos"]
    found = [pairs for pairs in tried if pairs is not None]
    return max(found, key=_worth, default=None)


def _pair(photos: Group, labels: Group) -> Pairs | None:
    same = (photos.folder, photos.ending) == (labels.folder, labels.ending)
    best: Pairs | None = None
    for ours, theirs in _affixes(photos, labels):
        if same and not (ours.before + ours.behind and _says_label(theirs)):
            continue  # the pattern of the images would take the labels too
        pairs = _by_affixes(photos, labels, ours, theirs)
        if pairs and (best is None or _worth(pairs) > _worth(best)):
            best = pairs
    return best


def _says_label(affix: Affix) -> bool:
    words = re.split(f"[{JOINTS}]+", f"{affix.before}_{affix.behind}".lower())
    return any(_role(word) == "labels" for word in words)


def _worth(pairs: Pairs) -> tuple[int, int, int]:
    return len(pairs.found), -pairs.alone, _likely(pairs.labels)


def _likely(pattern: str) -> int:
    """Of several files for each image, those of Cityscapes' kind among them, the one with ids goes first."""
    low = pattern.lower()
    return ("labelid" in low) - any(word in low for word in ("color", "colour", "instance", "depth"))


def _by_affixes(photos: Group, labels: Group, ours: Affix, theirs: Affix) -> Pairs | None:
    found: list[str] = []
    images = 0
    labelled = {split: stems for split, stems in photos.files.items() if split in labels.files}
    for split, stems in labelled.items():
        there = {theirs.key(stem): name for stem, name in labels.files[split].items()}
        keys = [key for stem in stems if (key := ours.key(stem)) is not None]
        images += len(keys)
        found += [there[key] for key in keys if key in there]
    if 2 * len(found) < sum(map(len, labelled.values())):
        return None  # two names that are alike, and no more
    ends = [".*" if photos.folder != labels.folder else group.ending for group in (photos, labels)]
    patterns = ours.pattern(photos, ends[0]), theirs.pattern(labels, ends[1])
    splits = {} if list(labelled) == [""] else named_splits(photos.files)
    unlabelled = [split for split, folder in splits.items() if folder not in labelled]
    return Pairs(*patterns, splits, unlabelled, sorted(found), alone=images - len(found)) if found else None


def named_splits(folders: Iterable[str]) -> dict[str, str]:
    """Split -> its folder.

    Raises:
        DataError: two folders are of one split.
    """
    named: dict[str, str] = {}
    for folder in sorted(folders):
        if (other := named.setdefault(split_called(folder) or folder, folder)) != folder:
            raise DataError(f"'{other}' and '{folder}' are one split; rename one of them, or make them one folder")
    return named


def _affixes(photos: Group, labels: Group) -> Iterator[tuple[Affix, Affix]]:
    """What names of images and of their labels may have around the key, from a few of them."""
    seen = {(Affix(), Affix())}
    yield Affix(), Affix()
    for split, stems in photos.files.items():
        there = _by_folder(labels.files.get(split, {}))
        for stem in sorted(stems)[:TRIED]:
            folder, _, name = stem.rpartition("/")
            for pair in _around(name, [other for other in there.get(folder, []) if other != name]):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _by_folder(stems: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for stem in stems:
        folder, _, name = stem.rpartition("/")
        found[folder].append(name)
    return found


def _shared(one: str, other: str) -> int:
    """How many characters two names begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _around(name: str, others: list[str]) -> Iterator[tuple[Affix, Affix]]:
    """What is around that which a name shares with the names that are most like it."""
    starts = Counter({other: _shared(name, other) for other in others})
    ends = Counter({other: _shared(name[::-1], other[::-1]) for other in others})
    for other, length in starts.most_common(TRIED):
        if key := name[:length].rstrip(JOINTS):
            yield Affix(behind=name[len(key) :]), Affix(behind=other[len(key) :])
    for other, length in ends.most_common(TRIED):
        if key := name[len(name) - length :].lstrip(JOINTS):
            yield Affix(before=name[: len(name) - len(key)]), Affix(before=other[: len(other) - len(key)])
