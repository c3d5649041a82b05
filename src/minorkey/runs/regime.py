"""From a configuration to the regime that it names."""

from dataclasses import dataclass

import torch

from minorkey.adapters import Attached
from minorkey.config import RunConfig
from minorkey.regimes.base import Regime
from minorkey.regimes.self_training.boxes import BoxSelfTraining
from minorkey.regimes.self_training.pixels import SelfTraining
from minorkey.regimes.self_training.token_dropping import dropped_tokens
from minorkey.regimes.supervised import Supervised
from minorkey.regimes.teachers import Anchor, Teacher, make_teacher
from minorkey.regimes.transda.regime import Transda
from minorkey.runs.assemble import Network
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.tasks.table import task_named


@dataclass(frozen=True)
class Pretrained:
    """The pretrained backbone in its two roles, each where a run needs it."""

    teacher: Teacher | None = None  # `base`
    anchor: Anchor | None = None  # of the feature distance


def pretrained_parts(config: RunConfig, network: Network, attached: Attached) -> Pretrained:
    """What a run needs of the pretrained backbone.

    The network must be as pretrained: a run may start from, or go on with, weights that were trained.
    """
    options = config.self_training
    adapts, taught_by_base = config.regime != "supervised", config.teacher.name == "base"
    compares = options.feature_distance_source or options.feature_distance_target
    return Pretrained(
        teacher=make_teacher(network.model, attached, config.teacher) if adapts and taught_by_base else None,
        anchor=Anchor(network.model, attached) if config.regime == "self_training" and compares else None,
    )


def build_regime(
    config: RunConfig,
    network: Network,
    attached: Attached,
    classes: int,
    *,
    pretrained: Pretrained,
    labelled: bool = False,
) -> Regime:
    """The regime of a run, around a network with its adapter that is not yet prepared for devices and processes.

    Args:
        config: of the run.
        network: what trains.
        attached: its adapter.
        classes: K.
        pretrained: `pretrained_parts` of the run.
        labelled: whether the batches of the target carry pseudo-labels.
    """
    model, steps = network.model, config.training.steps
    if config.regime == "supervised":
        return Supervised(task_named(config.task), model, steps)
    teacher = pretrained.teacher or make_teacher(model, attached, config.teacher)
    if config.task == "detection":
        return BoxSelfTraining(Detection(), model, teacher, config.box_self_training, classes, steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.regime == "transda":
            return Transda(Segmentation(), model, teacher, config.transda, classes, steps, labelled)
        options, transform = config.self_training, config.target_transform or config.transform
        if options.masking is not None and options.masking.hide == "tokens":
            with dropped_tokens(model):  # a backbone whose tokens cannot be dropped is better refused now
                pass
        return SelfTraining(
            Segmentation(),
            model,
            teacher,
            pretrained.anchor,
            options,
            transform.photometric if options.distort else None,
            (network.loaded.mean, network.loaded.std),
            classes,
            steps,
            config.training.lr,
        )
