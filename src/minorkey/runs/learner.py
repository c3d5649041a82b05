"""What learns: a network with its adapter and regime, at the weights that the training begins or goes on with."""

from dataclasses import dataclass

import torch

from minorkey.adapters import Attached, attach
from minorkey.config import RunConfig
from minorkey.labels import LabelSpace
from minorkey.models.build import load_head, load_head_state
from minorkey.models.modes import checkpoint_blocks
from minorkey.regimes.base import Regime
from minorkey.runs.assemble import Network, build_network
from minorkey.runs.regime import build_regime, pretrained_parts
from minorkey.runs.start import head_start, start_weights
from minorkey.training.checkpoint import Checkpoint, check_base


@dataclass(frozen=True)
class Learner:
    """What learns, and the checkpoint that it goes on from."""

    network: Network
    attached: Attached
    regime: Regime
    checkpoint: Checkpoint | None = None

    @property
    def done(self) -> int:
        """Steps that were done before."""
        return self.checkpoint.step if self.checkpoint else 0


def build_learner(
    config: RunConfig, space: LabelSpace, device: torch.device, checkpoint: Checkpoint | None, *, labelled: bool
) -> Learner:
    """Network, adapter and regime of a run.

    Args:
        config: of the run, or of a round of it.
        space: its classes.
        device: where it trains; weights are decomposed there, which a GPU is faster at.
        checkpoint: the one that the run goes on from.
        labelled: whether the batches of the target carry pseudo-labels.

    Raises:
        AdapterError: the checkpoint is of other pretrained weights.
        ConfigError: the run that this one starts from is another kind of run.
        DataError: that run has not ended.
    """
    network = build_network(config, space)
    network.model.to(device)
    begun = checkpoint or start_weights(config)
    _load_head(config, network, begun)
    state = begun.adapter if begun else None
    attached = attach(network.backbone, config.method, seed=config.seed, state=state, load=False, also=network.also)
    pretrained = pretrained_parts(config, network, attached, len(space))  # before anything trained is loaded
    if state is not None:
        attached.load_state_dict(state)
    regime = build_regime(config, network, attached, len(space), pretrained=pretrained, labelled=labelled)
    if config.training.gradient_checkpointing:
        checkpoint_blocks(network.model)
    return Learner(network, attached, regime, checkpoint)


def _load_head(config: RunConfig, network: Network, begun: Checkpoint | None) -> None:
    """The head of the checkpoint, else that of the run `config.head_from`, else the fresh one."""
    if begun is not None:
        check_base(begun, network.base_sha256)
        load_head_state(network.model, begun.head, "the checkpoint")
    elif (other := head_start(config)) is not None:
        load_head(network.model, other, config.backbone.name, network.base_sha256)
