"""A finished training, evaluated from its files."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from minorkey.config import RunConfig, load_config, save_config
from minorkey.errors import ConfigError
from minorkey.evaluation.evidence_files import evidence_file, write_evidence, write_places
from minorkey.evaluation.run import EvaluationDomain, evaluate_domains, image_sets, pictured_places, share_scenes
from minorkey.evaluation.scores import Adaptation, DomainRole, ScoreTable, TrainingCost, build_scores
from minorkey.runs.assemble import open_judged
from minorkey.runs.deployed import deployed_config, evaluations_of
from minorkey.runs.load import predictor_of, predictor_of_session
from minorkey.runs.onnx_session import OnnxSession
from minorkey.system.lock import sole_writer
from minorkey.system.ours import check, claim, refuse_links
from minorkey.system.outside import outside_faults
from minorkey.system.processes import from_main, speaker, together
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import write_sealed
from minorkey.tasks.evidence import Evidence
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.table import task_named
from minorkey.training.device import connect

EVALUATION = "an evaluation"
"""What files are part of, in the record of a folder."""

ROBUSTNESS = ("robustness.csv", "robustness.json", "figures/robustness.svg", "figures/robustness.png")
"""What is written beside scores under corruptions."""


@outside_faults()
def evaluate(
    run: str | Path,
    *,
    config: RunConfig | None = None,
    out: Path | None = None,
    console: Console | None = None,
) -> ScoreTable:
    """Evaluate a finished training, from its saved files, and write `metrics.json`.

    Args:
        run: the run folder.
        config: the run's configuration with other domains or another protocol; None: as trained.
        out: where to write; None: into the run folder.
        console: where progress is shown.

    Raises:
        ConfigError: `out` holds anything under the names of an evaluation that is not of one, or is the run itself,
            judged in another way.
        DataError: there is no finished training, or an image cannot be read.
    """
    folder = RunFolder(Path(run))
    folder.require_trained()
    as_trained, config = config is None, config or load_config(folder.config)
    connect(config.training)
    console = speaker(console)
    target = RunFolder(Path(out)) if out is not None else folder
    from_main(lambda: _check_out(target, folder, config, as_trained=as_trained))
    with together():
        predictor = predictor_of(folder, config)
        domains = open_judged(config, predictor.space, console)
        cost = TrainingCost.read(folder.cost)
    if target.path.resolve() != folder.path.resolve():
        from_main(lambda: claim(target.path, EVALUATION, _names(target, config), home=_is_home(target, folder)))
    about = {"run": folder.path.name, "method": config.method.name, "training": cost}
    return _judge(
        predictor, config, domains, target, about, console, alone=target.path.resolve() != folder.path.resolve()
    )


@outside_faults()
def evaluate_file(file: Path, overrides: Mapping[str, Any], *, out: Path, console: Console | None = None) -> ScoreTable:
    """Evaluate a deployed file as `evaluate` does its run, and write `metrics.json`.

    Args:
        file: that `export_run` wrote.
        overrides: other domains or another protocol than those of its run.
        out: where to write.
        console: where progress is shown.

    Raises:
        ConfigError: `out` holds anything under the names of an evaluation that is not of one, or the file's sources are
            to be judged, which it does not know.
        DataError: the file or an image cannot be read.
    """
    session, target = OnnxSession(file), RunFolder(out)
    config = deployed_config(session.info, file, overrides)
    connect(config.training)
    console = speaker(console)
    home = out.resolve().parent == evaluations_of(file).resolve()
    if not home:
        from_main(lambda: check(target.path, EVALUATION, _names(target, config)))
    predictor = predictor_of_session(session, config)
    domains = open_judged(config, predictor.space, console)
    from_main(lambda: claim(target.path, EVALUATION, _names(target, config), home=home))
    name = f"{session.info.run} ({file.name}, {session.info.computed})"
    about = {"run": name, "method": session.info.method, "training": TrainingCost()}
    return _judge(predictor, config, domains, target, about, console, alone=True)


def _judge(
    predictor: Predictor,
    config: RunConfig,
    domains: Sequence[EvaluationDomain],
    target: RunFolder,
    about: Mapping[str, Any],
    console: Console,
    *,
    alone: bool,
) -> ScoreTable:
    """Judge, and write the scores; `about` is what they say of the run; `alone`: that lies elsewhere."""
    started = time.monotonic()
    with sole_writer(target.path, console):
        judged = evaluate_domains(predictor, domains, config.evaluation.pictures, target.samples, console)
        evidence = {name: (each.role, each.evidence) for name, each in judged.items()}
        scores = build_scores(
            evidence,
            classes=predictor.space.classes,
            protocol=predictor.protocol,
            adaptation=_adaptation(config),
            shared_scenes=share_scenes(domains),
            task=config.task,
            image_sets=image_sets(domains),
            label_sets={name: each.label_set for name, each in judged.items()},
            **about,
        )
        from_main(lambda: write_places(target, pictured_places(domains, config.evaluation.pictures)))
        if alone:
            from_main(lambda: save_config(config, target.config))
        from_main(lambda: _save_scores(target, scores, evidence))
    for warning in scores.warnings:
        console.print(warning, highlight=False, soft_wrap=True)
    count = sum(kept.shape[0] for _, kept in evidence.values())
    console.print(f"judged {count} images in {time.monotonic() - started:.0f} s", highlight=False)
    return scores


def judged_names(folder: RunFolder, config: RunConfig) -> list[str]:
    """The names in a folder that judging writes to."""
    return [*folder.judged, task_named(config.task).metric(config.metric).evidence_file]


def _names(folder: RunFolder, config: RunConfig) -> list[str]:
    return [*judged_names(folder, config), *ROBUSTNESS]


def _is_home(target: RunFolder, run: RunFolder) -> bool:
    """Whether this is where evaluations of a run go unless said."""
    return target.path.resolve().parent == run.path.resolve() / "evaluations"


def _check_out(target: RunFolder, run: RunFolder, config: RunConfig, *, as_trained: bool) -> None:
    """Make sure that scores replace none but those of an earlier evaluation."""
    refuse_links(target.path, judged_names(target, config))  # a run may be anyone's
    if target.path.resolve() == run.path.resolve():
        if not as_trained:
            raise ConfigError(
                f"'{target.path}' is the run itself, whose own scores stay as it was trained; choose another --out"
            )
    elif not _is_home(target, run):
        check(target.path, EVALUATION, _names(target, config))


def _adaptation(config: RunConfig) -> Adaptation | None:
    if not config.regime_class.adapts:
        return None
    targets = [target.data for target in config.target]
    return Adaptation(regime=config.regime, teacher=config.teacher.name, targets=targets)


def _save_scores(target: RunFolder, scores: ScoreTable, evidence: dict[str, tuple[DomainRole, Evidence]]) -> None:
    write_evidence(target, scores.protocol, {name: kept for name, (_, kept) in evidence.items()})
    files = [evidence_file(target, scores.protocol), target.places, target.cost]  # the last in a run folder alone
    there = [file.relative_to(target.path).as_posix() for file in files if file.is_file()]
    write_sealed(target.metrics, scores.to_json(), there)
