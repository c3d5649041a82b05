"""Scores while a training goes on: to choose the weights that are deployed, or for the log alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from torch import nn

from minorkey.adapters.held import exact
from minorkey.config import RunConfig
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.run import EvaluationDomain, evaluate_domains
from minorkey.evaluation.scores import has_score
from minorkey.labels import LabelSpace
from minorkey.runs.assemble import Network, open_source_validation, open_unseen
from minorkey.runs.load import predictor_for
from minorkey.system.console import PlainConsole
from minorkey.tasks.evidence import only_scored


def validation(
    config: RunConfig, network: Network, space: LabelSpace, console: Console
) -> Callable[[nn.Module], dict[str, float]] | None:
    """A call that gives a network's score on each domain that the deployed weights are chosen on, by name.

    None where the weights are not chosen by scores.

    Raises:
        ConfigError: there is nothing to choose on.
    """
    choose = config.deployed
    if choose not in ("best_source", "oracle"):
        return None
    domains = open_unseen(config, space) if choose == "oracle" else open_source_validation(config, space, console)
    if not domains:
        wanted = "unseen domain" if choose == "oracle" else "source with validation images"
        raise ConfigError(f"training.choose is {choose}, but there is no {wanted} to choose on; use last or ema")
    scores_of = _scoring(config, network, space, domains)

    def scores_to_choose_by(model: nn.Module) -> dict[str, float]:
        if scores := scores_of(model):
            return scores
        raise DataError(
            f"training.choose is {choose}, but nothing that a score counts is labelled in any domain to choose on; "
            "check their labels and maps, or use last or ema"
        )

    return scores_to_choose_by


def watching(config: RunConfig, network: Network, space: LabelSpace) -> Callable[[nn.Module], dict[str, float]] | None:
    """A call that gives a network's score on `training.watch` images of each unseen domain, by name; None: on none."""
    images = config.training.watch
    if not images:
        return None
    domains = [replace(domain, images=min(images, domain.images)) for domain in open_unseen(config, space)]
    return _scoring(config, network, space, domains)


def _scoring(
    config: RunConfig, network: Network, space: LabelSpace, domains: list[EvaluationDomain]
) -> Callable[[nn.Module], dict[str, float]]:
    """The score of each domain that has one."""
    predictor = predictor_for(config, network, space)
    scored = predictor.protocol.classes_scored

    def scores_of(model: nn.Module) -> dict[str, float]:
        now = replace(predictor, model=model)
        with exact(model):
            judged = evaluate_domains(now, domains, pictures=0, folder=Path(), console=PlainConsole(quiet=True))
        counted = {name: only_scored(each.evidence, space.classes, scored) for name, each in judged.items()}
        return {name: evidence.score() for name, evidence in counted.items() if has_score(evidence)}

    return scores_of
