"""The scores of one run, in the form of its `metrics.json`. Scores are fractions in `[0, 1]`, or in
the unit of their metric."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from minorkey.data.corruptions import clean_domain
from minorkey.errors import DataError, StorageError
from minorkey.evaluation.bootstrap import mean_interval, score_interval
from minorkey.system.reading import reading
from minorkey.system.run_folder import RunFolder, resuming
from minorkey.system.saved_config import CONFIG
from minorkey.system.sealed import read_sealed
from minorkey.tasks.base import Task
from minorkey.tasks.evidence import Evidence, only_scored
from minorkey.tasks.metric import Metric
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.scored import task_of

DomainRole = Literal["source", "unseen"]

FINGERPRINTS = ("image_set", "label_set")
"""What scores of a domain say of the images and labels that they are of; those of before say less, or nothing."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DomainScore(_Record):
    """Scores in one domain; `None` where its truth leaves one undefined, as that of a class that never occurs."""

    domain: str
    role: DomainRole
    images: int
    score: float  # of the protocol's metric
    interval: tuple[float, float]  # 95 % bootstrap over images
    by_class: dict[str, float | None]  # the same metric
    details: dict[str, float | None]  # by the name of a further score
    class_details: dict[str, dict[str, float | None]]  # by the name of a further score, then by class
    missing_classes: list[str]
    image_set: str | None = None  # fingerprint of the keys of its images; None: judged before there was one
    label_set: str | None = None  # fingerprint of what their labels show; None: likewise

    @property
    def has_spread(self) -> bool:
        """Whether its interval says anything: one image, drawn again and again, has no spread."""
        return self.images > 1


class UnscoredDomain(_Record):
    """A domain whose truth leaves nothing to score; it is in no mean."""

    domain: str
    role: DomainRole
    images: int
    score: None = None
    why: str  # no labelled pixel of a scored class


class MeanScore(_Record):
    """Unweighted mean over domains."""

    score: float
    interval: tuple[float, float]


class WorstDomain(_Record):
    """The unseen domain with the worst score."""

    domain: str
    score: float


class TrainingCost(_Record):
    """What the training took; `None` where it was not measured."""

    steps: int | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    peak_memory_mb: float | None = None
    trained_parameters: int | None = None
    total_parameters: int | None = None
    device: str | None = None
    learning_rate: float | None = None
    seed: int | None = None

    @classmethod
    def read(cls, path: Path) -> "TrainingCost":
        """Read a `training.json`.

        Raises:
            StorageError: it is damaged.
        """
        values = {key: value for key, value in RunFolder(path.parent).record().values.items() if key != CONFIG}
        with reading(f"'{path}'", f"remove it and run {resuming(path.parent)}", StorageError):
            return cls(**values)


class Adaptation(_Record):
    """How a run used unlabelled images of its target."""

    regime: str
    teacher: str
    targets: list[str]  # data sets, as the configuration names them


class ScoreTable(_Record):
    """All scores of one run, with the protocol they were measured under."""

    run: str
    method: str
    task: str = "segmentation"
    label_space: str
    classes: list[str]
    protocol: Protocol
    domains: list[DomainScore]  # those that have a score
    unscored: list[UnscoredDomain] = []  # judged as well, but there was nothing to score
    unseen_mean: MeanScore | None  # None: no unseen domain was judged
    worst: WorstDomain | None
    training: TrainingCost
    adaptation: Adaptation | None = None  # None: trained on the source alone

    @property
    def of_task(self) -> Task:
        """The task that was trained."""
        return task_of(self.protocol.metric, self.task)

    @property
    def metric(self) -> Metric:
        """What the scores are called, and are in."""
        return self.protocol.scored

    @property
    def unseen(self) -> list[DomainScore]:
        """The domains whose labels training never saw, nor their images, but for those that it adapted to.

        The corruptions of one (`camvid+night@3`) are no further domains.
        """
        return _uncorrupted(self.domains, "unseen")

    @property
    def mean_has_spread(self) -> bool:
        """Whether the interval of the unseen mean says anything."""
        return any(score.has_spread for score in self.unseen)

    @property
    def home(self) -> list[DomainScore]:
        """The domains that were trained on; their corruptions, likewise, are no further ones."""
        return _uncorrupted(self.domains, "source")

    @property
    def warnings(self) -> list[str]:
        """What the labels of the domains leave open, a line each."""
        unscored = [
            f"domain '{each.domain}' has {each.why}: its score is none, and no mean has it; check its labels and map"
            for each in self.unscored
        ]
        shown = {
            score.domain: [name for name, value in score.by_class.items() if value is not None]
            for score in self.domains
        }
        alone = [
            f"domain '{domain}' shows one class alone, '{names[0]}': to find it everywhere scores best; look for others"
            for domain, names in shown.items()
            if len(names) == 1 < self.of_task.fewest_classes
        ]
        return unscored + alone

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinity never occur."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ScoreTable":
        """Inverse of `to_json`.

        Raises:
            DataError: A field is missing, unknown or of the wrong type.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise DataError(f"not a score table: {field}: {first['msg']}; run `minorkey evaluate` again") from error

    @classmethod
    def read(cls, path: Path) -> "ScoreTable":
        """Read a `metrics.json`.

        Raises:
            DataError: The file is missing, damaged, of another training than the one beside it, or not a score table.
        """
        if not path.is_file():
            raise DataError(f"no {path.name} in {path.parent}; run `minorkey evaluate` on it first")
        try:
            sealed = read_sealed(path)
            training = RunFolder(path.parent).cost
            if training.is_file() and training.name in (sealed.files or ()):
                sealed.check(training.name)  # these are scores of what lies beside them
            return cls.from_json(sealed.values)
        except StorageError as error:
            raise DataError(f"{error}; or run `minorkey evaluate` again") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def build_scores(
    evidence: Mapping[str, tuple[DomainRole, Evidence]],
    *,
    run: str,
    method: str,
    classes: Sequence[str],
    protocol: Protocol,
    training: TrainingCost,
    adaptation: Adaptation | None = None,
    shared_scenes: bool = False,
    task: str = "segmentation",
    image_sets: Mapping[str, str] | None = None,
    label_sets: Mapping[str, str] | None = None,
) -> ScoreTable:
    """Score a run from what was kept of its images.

    A domain in which nothing is labelled has no score, and is in no mean.

    Args:
        evidence: For each domain its role and the evidence of its images.
        run: Name of the run.
        method: Name of the adaptation method.
        classes: The K class names.
        protocol: How the predictions were made; classes that it does not score are ignored.
        training: What the training took.
        adaptation: How it used a target.
        shared_scenes: Image i shows the same scene in every unseen domain (see `bootstrap.mean_interval`).
        task: Name of the task.
        image_sets: Fingerprint of the images of each domain; None: they have none.
        label_sets: Fingerprint of what is labelled in them; None: they have none.
    """
    judged = {
        domain: (role, only_scored(kept, classes, protocol.classes_scored)) for domain, (role, kept) in evidence.items()
    }
    scored = {name: kept for name, kept in judged.items() if has_score(kept[1])}
    images, labels = image_sets or {}, label_sets or {}
    domains = [score_domain(name, *kept, classes, images.get(name), labels.get(name)) for name, kept in scored.items()]
    unseen = _uncorrupted(domains, "unseen")
    worst = max(unseen, key=lambda score: protocol.scored.rank(score.score), default=None)
    return ScoreTable(
        run=run,
        method=method,
        task=task,
        label_space=protocol.label_space,
        classes=list(classes),
        protocol=protocol,
        domains=domains,
        unscored=[_unscored(name, *kept) for name, kept in judged.items() if name not in scored],
        unseen_mean=_unseen_mean(unseen, [scored[score.domain][1] for score in unseen], shared_scenes),
        worst=WorstDomain(domain=worst.domain, score=worst.score) if worst else None,
        training=training,
        adaptation=adaptation,
    )


def score_domain(
    domain: str,
    role: DomainRole,
    evidence: Evidence,
    classes: Sequence[str],
    image_set: str | None = None,
    label_set: str | None = None,
) -> DomainScore:
    """Score one domain from the evidence of its images, one that has a score."""
    by_class = evidence.by_class()
    scored = classes if len(by_class) else ()  # a metric may have no scores of classes
    details = evidence.details()
    return DomainScore(
        domain=domain,
        role=role,
        images=evidence.shape[0],
        score=evidence.score(),
        interval=score_interval(evidence),
        by_class=_named(scored, by_class),
        details=_named(details.keys(), details.values()),
        class_details={name: _named(scored, values) for name, values in evidence.class_details().items()},
        missing_classes=[name for name, value in zip(scored, by_class, strict=True) if np.isnan(value)],
        image_set=image_set,
        label_set=label_set,
    )


def has_score(evidence: Evidence) -> bool:
    """Whether there is anything to score: a domain may have no label of a scored class."""
    return not math.isnan(evidence.score())


def _unscored(domain: str, role: DomainRole, evidence: Evidence) -> UnscoredDomain:
    why = f"no labelled {evidence.unit} of a scored class"
    return UnscoredDomain(domain=domain, role=role, images=evidence.shape[0], why=why)


def _uncorrupted(domains: Sequence[DomainScore], role: DomainRole) -> list[DomainScore]:
    """The domains of a role, without the corruptions of those that were judged clean as well."""
    names = {score.domain for score in domains if score.role == role}
    return [s for s in domains if s.role == role and not (names - {s.domain}) & {clean_domain(s.domain)}]


def _unseen_mean(scores: Sequence[DomainScore], evidence: Sequence[Evidence], shared_scenes: bool) -> MeanScore | None:
    if not scores:
        return None
    mean = math.fsum(score.score for score in scores) / len(scores)
    return MeanScore(score=mean, interval=mean_interval(evidence, shared_scenes=shared_scenes))


def _named(names: Iterable[str], values: Iterable[float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
