"""Leave one domain out: every domain in turn is unseen, and the others are trained on.

As DomainBed compares methods (Gulrajani and Lopez-Paz, arXiv 2007.01434). Each fold is a run of its own, in a folder
named after the domain that it leaves out; a fold that is finished is not trained again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from minorkey.config import RunConfig
from minorkey.data.readers import SourceOptions, domain_of, each_domain, title_of, validation_of
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import DomainScore, ScoreTable, UnscoredDomain
from minorkey.runs.assemble import open_sources
from minorkey.runs.from_sources import with_classes
from minorkey.runs.train import train
from minorkey.system.names import below
from minorkey.system.ours import check, claim
from minorkey.system.processes import from_main, speaker
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_csv
from minorkey.tasks.table import task_named
from minorkey.training.device import connect

TABLE = "leave_one_out.csv"
PART = "a table of folds"


@dataclass(frozen=True)
class Fold:
    """A run that leaves one domain out."""

    domain: str  # the name of its folder
    config: RunConfig


@dataclass(frozen=True)
class FoldScore:
    """What came of a fold."""

    fold: Fold
    scores: ScoreTable

    @property
    def unseen(self) -> DomainScore | UnscoredDomain:
        """The domain that was left out, with its score."""
        if self.scores.unseen:
            return self.scores.unseen[0]
        return next(each for each in self.scores.unscored if each.role == "unseen")

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """That of its score."""
        return self.unseen.interval if isinstance(self.unseen, DomainScore) else (None, None)

    @property
    def validation(self) -> float | None:
        """The mean score on validation images of the domains that were trained on; None where they were not judged."""
        seen = [domain.score for domain in self.scores.domains if domain.role == "source"]
        return float(np.mean(seen)) if seen else None


def folds_of(config: RunConfig) -> list[Fold]:
    """A run for each of the domains that a configuration trains on or is judged on, which leaves it out.

    Where the regime adapts to a target, that is the domain that is left out, without its labels.

    Raises:
        ConfigError: there is one domain only, or two would share a folder.
        MinorkeyError: a data set is not known, or its classes differ from those of another.
    """
    config, annotation = with_classes(config), task_named(config.task).annotation
    pool: dict[str, SourceOptions] = {}
    for source in config.source:
        domains = each_domain(source.data, annotation=annotation, data_root=config.data_root)
        for spec, weight in zip(domains, _weights(config, source, len(domains)), strict=True):
            pool[spec] = source.model_copy(update={"data": spec, "weight": weight})
    weights = [source.weight for source in pool.values() if source.weight is not None]
    usual = sum(weights) / len(weights) if weights else None  # a domain that was unseen counts as the others do
    for unseen in config.unseen:
        for spec in each_domain(unseen, annotation=annotation, data_root=config.data_root):
            pool.setdefault(spec, SourceOptions(data=spec, weight=usual))
    if len(pool) < 2:
        raise ConfigError(f"'{next(iter(pool))}' is one domain only; to leave one out, name two or more as source")
    _refuse_twice(pool)
    folds = [_fold(config, pool, spec) for spec in pool]
    if len(names := {fold.domain for fold in folds}) < len(folds):
        twice = next(name for name in names if sum(fold.domain == name for fold in folds) > 1)
        raise ConfigError(f"two domains are called '{twice}'; give each folder its own name, or name a domain once")
    return folds


def _weights(config: RunConfig, source: SourceOptions, domains: int) -> Sequence[float | None]:
    """The weight of a source, shared by its domains as in a training on all of them."""
    if source.weight is None or domains == 1:
        return [source.weight] * domains
    space = task_named(config.task).space(config.label_space)
    return open_sources(config.model_copy(update={"source": [source]}), space).weights or []


def _fold(config: RunConfig, pool: dict[str, SourceOptions], left_out: str) -> Fold:
    sources = [source for spec, source in pool.items() if spec != left_out]
    # `x:train` is what is trained on of a domain, whichever are: unseen, it is judged by its other images, or all.
    changes = {"source": sources, "unseen": [validation_of(left_out)]}
    if config.target:
        asked = config.target[0]  # of which a share may be taken; its files are of another domain
        changes["target"] = [SourceOptions(data=left_out, fraction=asked.fraction)]
    return Fold(title_of(left_out), config.model_copy(update=changes))


def _refuse_twice(specs: Iterable[str]) -> None:
    """Raise `ConfigError` where two are splits of one domain, which would be trained on and left out."""
    named: dict[str, str] = {}
    for spec in specs:
        if (first := named.setdefault(domain_of(spec), spec)) != spec:
            raise ConfigError(
                f"'{first}' and '{spec}' are one domain, which would be left out and trained on; name a domain once"
            )


def leave_one_out(
    config: RunConfig, out: Path, *, resume: bool = False, console: Console | None = None
) -> list[FoldScore]:
    """Train and judge all folds, one after the other, and write `leave_one_out.csv`.

    Args:
        config: its domains are those of `source` and `unseen` together.
        out: folder of the folds' run folders.
        resume: go on with what an earlier call in `out` left unfinished.
        console: where progress is shown; None: standard error.

    Raises:
        MinorkeyError: bad input, or a training that cannot go on; one line says what to do.
    """
    connect(config.training)
    console = speaker(console)
    folds = from_main(lambda: folds_of(config))
    places = [below(out, fold.domain) for fold in folds]
    begun = [place for place in places if RunFolder(place).started]
    if begun and not resume:
        raise ConfigError(f"'{begun[0]}' holds a run already; add --resume to go on, or choose another --out")
    if not begun:
        from_main(lambda: check(out, PART, [TABLE]))
    done = []
    for number, (fold, place) in enumerate(zip(folds, places, strict=True), start=1):
        console.print(f"fold {number} of {len(folds)}: '{fold.domain}' is left out", highlight=False, soft_wrap=True)
        done.append(FoldScore(fold, train(fold.config, place, resume=True, console=console)))
    from_main(lambda: claim(out, PART, [TABLE], home=bool(begun)))
    from_main(lambda: _write(done, out / TABLE))
    return done


def _write(folds: Sequence[FoldScore], path: Path) -> None:
    rows = [
        [fold.unseen.domain, fold.unseen.images, fold.unseen.score, *fold.interval, fold.validation] for fold in folds
    ]
    write_csv(path, ["unseen", "images", "score", "low", "high", "source_validation"], rows)
