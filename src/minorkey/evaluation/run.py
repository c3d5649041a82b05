"""Judge a model on its domains: readers in, evidence and kept pictures out."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from minorkey.data.readers import Reader
from minorkey.data.sample import Sample
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.scores import DomainRole
from minorkey.system.ahead import Room, ahead
from minorkey.system.names import below
from minorkey.system.processes import deal, gathered_objects, in_order, process_count, process_index
from minorkey.system.progress import Reporter
from minorkey.tasks.evidence import Evidence
from minorkey.tasks.predictor import Predictor, Started, telling


@dataclass(frozen=True)
class EvaluationDomain:
    """A domain to judge on."""

    role: DomainRole
    reader: Reader
    images: int  # how many of its images, evenly spaced

    def indices(self) -> list[int]:
        """The images that are judged."""
        return _spread(len(self.reader), self.images)

    def keys(self) -> list[str]:
        """Their keys."""
        return [self.reader.key(index) for index in self.indices()]


class Judged(NamedTuple):
    """What came of a domain."""

    role: DomainRole
    evidence: Evidence
    label_set: str  # fingerprint of what the labels of its images show


def evaluate_domains(
    predictor: Predictor, domains: Sequence[EvaluationDomain], pictures: int, folder: Path, console: Console
) -> dict[str, Judged]:
    """The evidence of every domain.

    Processes that judge together share the images out, and each returns all of the evidence. The main process
    judges those whose pictures are kept, for it alone writes.

    Args:
        predictor: the model and its protocol.
        domains: what to judge on; names must differ.
        pictures: images per domain whose prediction is kept below `folder`.
        folder: `<domain>/<key>/` are written here, what `Task.keep` keeps of an image.
        console: for the progress.

    Raises:
        ConfigError: two data sets carry one domain name.
        DataError: an image or label cannot be read, or has no labels.
    """
    check_names(domains)
    images = [(domain, index) for domain in domains for index in domain.indices()]
    kept = _kept(domains, pictures)
    shares = deal(len(images), process_count(), first=kept)
    mine = shares[process_index()]
    evaluator = predictor.protocol.scored.evaluator(len(predictor.space), predictor.protocol)

    room = Room()

    def read(place: int) -> tuple[tuple[int, Sample], np.ndarray]:
        domain, index = images[place]
        sample = domain.reader[index]
        room.note(sample.image)
        return (place, sample), sample.image

    def note(given: tuple[tuple[int, Sample], Started | DataError]) -> tuple[int, tuple[Any, Any]]:
        (place, sample), started = given
        if isinstance(started, DataError):
            raise DataError(f"{sample.domain}/{sample.key}: {started}")
        noted = evaluator.note(sample, started)
        if place in kept:
            predictor.task.keep(sample, started(), below(folder, sample.domain, sample.key))
        return place, (noted, _shown(sample))

    notes = []
    with Reporter(console, "judging", len(mine), unit="image") as reporter:
        started = _started(predictor, console, ahead(read, mine, room=room))
        for done, (place, noted) in enumerate(ahead(note, started, room=room), start=1):
            notes.append(noted)
            reporter.update(done, images[place][0].reader.domain)
    in_place = iter(in_order(shares, gathered_objects(notes)))
    judged = {}
    for domain in domains:
        here = list(islice(in_place, len(domain.indices())))
        evidence = evaluator.evidence([noted for noted, _ in here])
        judged[domain.reader.domain] = Judged(domain.role, evidence, _fingerprint([shown for _, shown in here]))
    return judged


def _shown(sample: Sample) -> Any:
    """What tells the labels of an image from those of another one under its name.

    Its size and the classes in it, no single pixels: those of drawn outlines may differ by machine.
    """
    classes = None if sample.labels is None else np.flatnonzero(np.bincount(sample.labels.ravel())).tolist()
    boxes = None if sample.box_classes is None else np.sort(sample.box_classes).tolist()
    return sample.image.shape[:2], classes, boxes, sample.category


def _started(
    predictor: Predictor, console: Console, read: Iterable[tuple[tuple[int, Sample], np.ndarray]]
) -> Iterator[tuple[tuple[int, Sample], Started | DataError]]:
    """Predictions that have begun, of each domain under its own protocol."""
    for domain, images in groupby(read, key=lambda given: given[0][1].domain):
        own = predictor.in_domain(domain)
        yield from own.started(telling(own, console, images))


def _kept(domains: Sequence[EvaluationDomain], pictures: int) -> set[int]:
    """Places, among the images of all domains, of those whose pictures are kept."""
    counts = [len(domain.indices()) for domain in domains]
    starts = np.cumsum([0, *counts])
    return {int(start) + i for start, count in zip(starts, counts, strict=False) for i in _spread(count, pictures)}


def pictured_places(domains: Sequence[EvaluationDomain], pictures: int) -> dict[str, dict[str, int]]:
    """By domain, the images whose pictures are kept: key, and place among those that are judged."""
    return {
        domain.reader.domain: {keys[place]: place for place in _spread(len(keys), pictures)}
        for domain in domains
        for keys in [domain.keys()]
    }


def image_sets(domains: Sequence[EvaluationDomain]) -> dict[str, str]:
    """By domain, a fingerprint of the keys of the images that are judged, in their order."""
    return {domain.reader.domain: _fingerprint(domain.keys()) for domain in domains}


def _fingerprint(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, default=int).encode()).hexdigest()[:16]


def share_scenes(domains: Sequence[EvaluationDomain]) -> bool:
    """Whether image i shows the same scene in every unseen domain, as in the built-in world."""
    keys = [domain.keys() for domain in domains if domain.role == "unseen"]
    return len(keys) > 1 and all(each == keys[0] for each in keys)


def check_names(domains: Sequence[EvaluationDomain]) -> None:
    """Raise `ConfigError` where two data sets carry one domain name."""
    names = [domain.reader.domain for domain in domains]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"domain '{twice[0]}' would be judged twice ({', '.join(d.reader.name for d in domains)}); "
            "give each data set its own `name` in dataset.yaml, or name it once"
        )


def _spread(length: int, count: int) -> list[int]:
    """At most `count` evenly spaced places of `length`, in order."""
    count = min(length, count)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]
