"""From a configuration to the regime that it names."""

from collections.abc import Mapping

import torch

from minorkey.adapters import Attached
from minorkey.config import RunConfig
from minorkey.regimes.base import Regime, Setup
from minorkey.regimes.teachers import Teacher
from minorkey.runs.assemble import Network
from minorkey.tasks.self_training import Colours
from minorkey.tasks.table import task_named


def pretrained_parts(config: RunConfig, network: Network, attached: Attached, classes: int) -> dict[str, Teacher]:
    """What a run needs of the pretrained network, by name.

    It must still be as pretrained: a run may start from, or go on with, weights that were trained.
    """
    return config.regime_class.pretrained(_setup(config, network, attached, classes))


def build_regime(
    config: RunConfig,
    network: Network,
    attached: Attached,
    classes: int,
    *,
    pretrained: Mapping[str, Teacher],
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return config.regime_class(_setup(config, network, attached, classes, labelled), pretrained)


def _setup(config: RunConfig, network: Network, attached: Attached, classes: int, labelled: bool = False) -> Setup:
    transform = config.target_transform or config.transform
    return Setup(
        task=task_named(config.task),
        model=network.model,
        attached=attached,
        classes=classes,
        steps=config.training.steps,
        options=getattr(config, config.regime_class.section, None),
        teacher=config.teacher,
        lr=config.training.lr,
        colours=Colours(transform.photometric, network.loaded.mean, network.loaded.std),
        labelled=labelled,
    )
