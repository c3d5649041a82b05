"""Choose learning rates by validation images of the source; no unseen image is opened.

Every trial is a run of its own, so what is finished is not trained again. Its seed is none of those that will be
reported, and what a rate does to unseen domains is not known when it is chosen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from rich.console import Console

from minorkey.config import RunConfig, resolve, saved_values
from minorkey.config.run_config import checked
from minorkey.errors import ConfigError, DataError, TrainingError
from minorkey.evaluation.scores import ScoreTable
from minorkey.runs.assemble import open_source_validation
from minorkey.runs.from_sources import with_classes
from minorkey.runs.rates import choose_rate
from minorkey.runs.settled import settled
from minorkey.runs.train import claim as claim_run
from minorkey.runs.train import train
from minorkey.system.names import below
from minorkey.system.ours import claim
from minorkey.system.processes import from_main, speaker
from minorkey.system.reading import INTEGERS
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_csv, write_text
from minorkey.system.unforeseen import public
from minorkey.tasks.metric import Metric
from minorkey.tasks.table import task_named
from minorkey.training.device import connect
from minorkey.training.divergence import Diverged
from minorkey.training.loop import Interrupted
from minorkey.training.options import TrainingOptions

TABLE = "tune.csv"
PAGE = "tune.html"
PART = "a choice of rates"
FIRST_SEED = 100
"""Of the trials, above that of the run."""

FACTOR = 3.0
"""Between the rates of a grid."""

NEARLY = 0.5
"""Points of a score in percent below the best rate at which a lower one is taken (docs/does-it-help.md)."""


@dataclass(frozen=True)
class Trial:
    """A rate that was tried."""

    method: str
    rate: float
    seed: int
    score: float | None  # mean over the source domains, as they are and corrupted; None: it diverged


@dataclass(frozen=True)
class Choice:
    """The rate of a method."""

    method: str
    key: str  # training.backbone_lr, or training.lr where the head trains alone
    rate: float
    trials: Sequence[Trial]
    metric: Metric
    steps: int
    under: Sequence[str]  # corruptions, under which the source was judged besides
    tolerance: float  # by how much the rate may be below the best one, in the unit of the metric
    file: Path  # the configuration with that rate, as a preset

    @property
    def best(self) -> float:
        """The rate with the best score, which a lower one that is nearly as good may have been taken for."""
        known = {rate: score for rate, score in self.tried().items() if score is not None}
        return min(known, key=lambda rate: self.metric.rank(known[rate]))

    @property
    def at_edge(self) -> bool:
        """Whether a rate beyond the best one was not tried, and could be told from it."""
        rates = list(self.tried())
        return len(rates) > 1 and self.best in (rates[0], rates[-1]) and not self.flat

    @property
    def flat(self) -> bool:
        """Whether every rate that was tried is nearly as good as the best one: the source does not tell them apart."""
        amounts = [None if score is None else self.metric.amount(score) for score in self.tried().values()]
        known = [amount for amount in amounts if amount is not None]
        return len(amounts) == len(known) > 1 and max(known) - min(known) <= self.tolerance

    def text(self, rate: float) -> str:
        """The score of a rate that did not diverge, with its unit."""
        score = self.tried()[rate]
        assert score is not None
        return self.metric.text(score)

    def tried(self) -> dict[float, float | None]:
        """The score of each rate, a mean over the seeds; None where one diverged."""
        rates = sorted({trial.rate for trial in self.trials})
        return {rate: _mean([trial.score for trial in self.trials if trial.rate == rate]) for rate in rates}


@public
def tune(
    preset: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path,
    methods: Sequence[str] = (),
    rates: Sequence[float] = (),
    seeds: int = 1,
    steps: int | None = None,
    under: Sequence[str] = (),
    tolerance: float | None = None,
    console: Console | None = None,
) -> list[Choice]:
    """Choose the learning rate of each method by the validation images of the source, and write `tune.csv`.

    Taken is the lowest rate that is nearly as good as the best one: where that is another, it cost little at home and
    mostly held up better elsewhere (docs/does-it-help.md). A grid goes on where its best rate is at an edge. An
    interrupted call goes on where it stopped.

    Args:
        preset: as for `train`.
        overrides: as for `resolve`.
        out: folder of the trials, each of which is a run folder, and of a configuration for each method.
        methods: what to choose rates for; none: the method of the configuration.
        rates: the grid; none: a third of the configuration's rate, that rate, and three times it.
        seeds: trials of each rate.
        steps: of each trial; None: as many as the training takes.
        under: corruptions, e.g. `night@3`, under which these images count as well, each as much as without any.
        tolerance: how far below the best one it may be, in the unit of the metric; 0: the best rate is taken; None:
            half a point where the metric is in percent, else 0.
        console: where progress is shown; None: standard error.

    Returns:
        A choice for each method.

    Raises:
        MinorkeyError: bad input, or a trial that cannot be trained or judged.
    """
    if seeds < 1 or (steps is not None and steps < 1):
        raise ConfigError(f"seeds and steps are 1 or more, got {seeds} and {steps}")
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ConfigError(f"--tolerance is a number, 0 or more, got {tolerance:g}")
    given = dict(overrides or {})
    wanted = [_of_method(preset, given, method) for method in dict.fromkeys(methods)] or [resolve(preset, given)]
    connect(wanted[0].training)
    out, console = Path(out), speaker(console)
    wanted = from_main(lambda: [with_classes(config) for config in wanted])
    tried = [_judged_under(config, under) for config in wanted]
    for config in tried:
        from_main(lambda config=config: _check(config, rates, seeds, steps, console))  # type: ignore[misc]
    files = [TABLE, PAGE, *(_preset(out, config).name for config in wanted)]
    trials = [f"{escape(_file_name(config))}-*" for config in wanted]
    begun = from_main(lambda: any(RunFolder(folder).started for trial in trials for folder in out.glob(trial)))
    from_main(lambda: claim(out, PART, files, home=begun))
    choices = [_choose(config, out, rates, seeds, steps, tolerance, console) for config in tried]
    from_main(lambda: _write(choices, wanted, out))
    return choices


def _of_method(preset: str | Path | None, given: Mapping[str, Any], method: str) -> RunConfig:
    options = given.get("method")
    named = {**options, "name": method} if isinstance(options, Mapping) else method
    return resolve(preset, {**given, "method": named})


def _judged_under(config: RunConfig, under: Sequence[str]) -> RunConfig:
    """The configuration whose source is judged under these corruptions; none: under its own."""
    evaluation = config.evaluation.model_copy(update={"source_under": tuple(under)} if under else {})
    return config.model_copy(update={"evaluation": evaluation})


def _check(config: RunConfig, rates: Sequence[float], seeds: int, steps: int | None, console: Console) -> None:
    """Refuse what could not be chosen by the source.

    Raises:
        ConfigError: there is nothing to choose on, more than a rate is chosen on unseen domains, or a trial so short
            would not be what the training is.
    """
    if config.training.choose == "oracle":
        raise ConfigError(
            "training.choose is oracle, which judges on unseen domains; tune leaves them alone: take it out"
        )
    if config.training.steps == 0:
        raise ConfigError("training.steps is 0, and nothing is learnt at any rate; set it to those of the training")
    if any(not 0 < rate < INTEGERS for rate in rates):
        raise ConfigError(f"--rates are numbers above 0, got {', '.join(f'{rate:g}' for rate in rates)}")
    trial = _trial(config, "lr", config.training.lr, config.seed + FIRST_SEED + seeds - 1, steps)
    try:
        checked(saved_values(trial))
    except ConfigError as error:
        raise ConfigError(f"a trial of {trial.training.steps} steps cannot be trained: {error}") from error
    if not open_source_validation(config, task_named(config.task).space(config.label_space), console):
        raise ConfigError("no source has validation images, by which rates are chosen; name one with a val split")


def _choose(
    config: RunConfig,
    out: Path,
    rates: Sequence[float],
    seeds: int,
    steps: int | None,
    tolerance: float | None,
    console: Console,
) -> Choice:
    """Try rates of one method until the best of them is known."""
    key = "lr" if config.method.spec.trains == "nothing" else "backbone_lr"
    own = getattr(config.training, key)
    grid = sorted(set(rates)) or [float(f"{rate:.2g}") for rate in (own / FACTOR, own, own * FACTOR)]
    metric, trials = task_named(config.task).metric(config.metric), dict[tuple[float, int], Trial]()
    if tolerance is None:
        tolerance = NEARLY if metric.unit == "%" else 0.0

    def score_of(rate: float) -> float | None:
        found = [trial.score for (tried, _), trial in trials.items() if tried == rate]
        if not found:
            return None
        mean = _mean(found)
        return float("-inf") if mean is None else -metric.rank(metric.amount(mean))

    chosen, missing = choose_rate(grid, score_of, tolerance=tolerance) if len(grid) > 1 else (None, grid)
    while missing:
        for rate in missing:
            for seed in range(config.seed + FIRST_SEED, config.seed + FIRST_SEED + seeds):
                trials[rate, seed] = _try(_trial(config, key, rate, seed, steps), out, key, metric, console)
        chosen, missing = choose_rate(grid, score_of, tolerance=tolerance)
    assert chosen is not None
    if score_of(chosen) == float("-inf"):
        raise TrainingError(f"every rate of {config.method.name} diverged; give lower --rates, or training.clip_norm")
    return Choice(
        method=config.method.name,
        key=f"training.{key}",
        rate=chosen,
        trials=list(trials.values()),
        metric=metric,
        steps=steps or config.training.steps,
        under=config.evaluation.source_under,
        tolerance=tolerance,
        file=_preset(out, config),
    )


def _shortened(training: TrainingOptions, share: float) -> dict[str, Any]:
    """What lies at some step of a training, in one of that share of its length."""
    lengths = {"warmup": training.warmup, "decay_from": training.decay_from}
    lengths |= {key: at for key in ("horizon", "weight_ema_from") if (at := getattr(training, key)) is not None}
    shorter: dict[str, Any] = {key: max(key == "horizon", round(at * share)) for key, at in lengths.items()}
    return shorter | {"milestones": [max(1, round(at * share)) for at in training.milestones]}


def _trial(config: RunConfig, key: str, rate: float, seed: int, steps: int | None) -> RunConfig:
    """The configuration of a trial, in which no unseen domain is named."""
    training: dict[str, Any] = {key: rate, "watch": 0}
    regimes: dict[str, Any] = {}
    if steps is not None:
        share = min(1.0, steps / config.training.steps)
        training |= {"steps": steps, **_shortened(config.training, share)}
        alone, first = config.self_training.warmup, config.transda.warmup_steps
        regimes["self_training"] = config.self_training.model_copy(update={"warmup": round(alone * share)})
        if first is not None:
            regimes["transda"] = config.transda.model_copy(update={"warmup_steps": max(1, round(first * share))})
    return config.model_copy(
        update=regimes
        | {
            "seed": seed,
            "unseen": [],
            "training": config.training.model_copy(update=training),
            "evaluation": config.evaluation.model_copy(update={"source": True, "pictures": 0}),
        }
    )


def _try(config: RunConfig, out: Path, key: str, metric: Metric, console: Console) -> Trial:
    """Train and judge a trial, or read what came of it."""
    rate = getattr(config.training, key)
    folder = RunFolder(below(out, f"{_file_name(config)}-{rate:g}-{config.seed}"))
    score: float | None = None
    if from_main(folder.diverged.is_file):
        found = settled(config, folder, console)
        from_main(lambda: claim_run(folder, found, True))  # it was this trial, and no other one
    else:
        console.print(f"{config.method.name}, {key} {rate:g}, seed {config.seed}", highlight=False)
        try:
            scores = train(config, folder.path, resume=True, console=console)
        except Interrupted as error:
            raise Interrupted(f"{str(error).partition(';')[0]}; the same command goes on from there") from error
        except Diverged as error:
            reason = f"{str(error).partition(',')[0]}\n"
            from_main(lambda: write_text(folder.diverged, reason))
        else:
            score = _source_score(scores)
            if score is None:
                raise DataError(
                    "rates are chosen on validation images of the source, in which nothing that a score counts is "
                    "labelled; check their labels, and evaluation.classes"
                )
    told = "diverged" if score is None else f"{metric.name} {metric.text(score)} on the source"
    console.print(f"{config.method.name}, {key} {rate:g}, seed {config.seed}: {told}", highlight=False)
    return Trial(config.method.name, rate, config.seed, score)


def _source_score(scores: ScoreTable) -> float | None:
    return _mean([domain.score for domain in scores.domains if domain.role == "source"])


def _mean(scores: Sequence[float | None]) -> float | None:
    """The mean of some scores; None where one is missing, or all are."""
    known = [score for score in scores if score is not None]
    return fmean(known) if known and len(known) == len(scores) else None


def _write(choices: Sequence[Choice], configs: Sequence[RunConfig], out: Path) -> None:
    """The table of the trials, and for each method its configuration with the chosen rate."""
    write_csv(out / TABLE, ["method", "key", "rate", "seed", "source_validation", "chosen"], _rows(choices))
    for choice, config in zip(choices, configs, strict=True):
        training = config.training.model_copy(update={choice.key.rpartition(".")[2]: choice.rate})
        values = saved_values(config.model_copy(update={"training": training}))
        under = f", also under {', '.join(choice.under)}" if choice.under else ""
        nearly = f", as the lowest nearly as good as {choice.best:g}" if choice.rate != choice.best else ""
        head = (
            f"# {choice.key} {choice.rate:g} was chosen by minorkey tune on validation images of the source{under}"
            f"{nearly}.\n"
        )
        write_text(choice.file, head + yaml.safe_dump(values, sort_keys=False))


def _rows(choices: Sequence[Choice]) -> Iterator[list[Any]]:
    for choice in choices:
        for trial in sorted(choice.trials, key=lambda trial: (trial.rate, trial.seed)):
            yield [choice.method, choice.key, trial.rate, trial.seed, trial.score, trial.rate == choice.rate]


def _preset(out: Path, config: RunConfig) -> Path:
    return below(out, f"{_file_name(config)}.yaml")


def _file_name(config: RunConfig) -> str:
    return config.method.name.replace(":", ".")  # of package.module:attribute
