"""From a configuration to the regime that it names."""

import torch

from minorkey.adapters import Attached
from minorkey.config import RunConfig
from minorkey.data.photometric import PhotometricConfig
from minorkey.parts import Network
from minorkey.regimes.regime import Regime
from minorkey.regimes.self_training import SelfTraining
from minorkey.regimes.supervised import Supervised
from minorkey.regimes.teachers import Anchor, Teacher, make_teacher
from minorkey.regimes.transda import Transda
from minorkey.tasks.segmentation import Segmentation


def build_regime(
    config: RunConfig,
    network: Network,
    attached: Attached,
    classes: int,
    *,
    pretrained: Teacher | None = None,
    labelled: bool = False,
) -> Regime:
    """The regime of a run, around a network with its adapter that is not yet prepared for devices and processes.

    Args:
        config: of the run.
        network: what trains.
        attached: its adapter.
        classes: K.
        pretrained: `pretrained_teacher` of the run.
        labelled: whether the batches of the target carry pseudo-labels.
    """
    task, model, steps = Segmentation(), network.model, config.training.steps
    if config.regime == "supervised":
        return Supervised(task, model, steps)
    base = config.teacher.name == "base" and pretrained
    teacher = base or make_teacher(model, attached, config.teacher)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.regime == "transda":
            return Transda(task, model, teacher, config.transda, classes, steps, labelled)
        options, transform = config.self_training, config.target_transform or config.transform
        return SelfTraining(
            task,
            model,
            teacher,
            pretrained if _compares_features(config) else None,
            options,
            (transform.photometric or PhotometricConfig()) if options.distort else None,
            (network.loaded.mean, network.loaded.std),
            classes,
            steps,
            config.training.lr,
        )


def pretrained_teacher(config: RunConfig, network: Network, attached: Attached) -> Teacher | None:
    """The pretrained backbone as a teacher or as the anchor of a feature distance, where a run needs it.

    The network must be as pretrained: a run may start from, or go on with, weights that were trained.
    """
    if config.regime != "supervised" and config.teacher.name == "base":
        return make_teacher(network.model, attached, config.teacher)
    if _compares_features(config):
        return Anchor(network.model, attached)
    return None


def _compares_features(config: RunConfig) -> bool:
    options = config.self_training
    return config.regime == "self_training" and bool(options.feature_distance_source or options.feature_distance_target)
