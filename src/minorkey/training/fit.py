"""A training described: what learns from what, how, and where it is written. Nothing here changes while it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import neg
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from minorkey.adapters import Attached
from minorkey.data.loaders import TrainingLoader
from minorkey.data.pairs import PairLoader
from minorkey.models.trained import trained_tensors
from minorkey.regimes.base import Regime
from minorkey.system.precision import Precision
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.protocol import Weights
from minorkey.training.incidents import Incidents
from minorkey.training.options import TrainingOptions
from minorkey.training.snapshots import Snapshots

Scores = dict[str, float]
"""Score by domain."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A training, for a `Loop` to run.

    Args:
        model: the network, prepared by `accelerator`.
        attached: its adapter.
        regime: which losses.
        optimizer: over `optim.param_groups`.
        options: schedules and intervals.
        anneal: whether weight decay anneals.
        accelerator: device, precision, processes.
        loader: the batches from the step on that the training begins with, or goes on from.
        folder: the run folder.
        base_sha256: fingerprint of the pretrained backbone.
        seed: of dropout.
        deployed: which weights the network has in the end.
        precision: of its passes; what is half precision is up to `accelerator`.
        incidents: reports what goes wrong with the target's images and labels.
        snapshots: keeps pictures of pseudo-labels; None where there are none.
        validate: scores of a network, on which the deployed weights are chosen; None: they are not chosen by scores.
        rank: of such a score, lower for a better one (`Metric.rank`).
        watch: the same on other images, for the log alone.
        track: is given every record of the log, in all processes.
        config: the configuration as it is saved, which goes into checkpoints.
    """

    model: nn.Module
    attached: Attached
    regime: Regime
    optimizer: Optimizer
    options: TrainingOptions
    anneal: bool
    accelerator: Accelerator
    loader: TrainingLoader | PairLoader
    folder: RunFolder
    base_sha256: str
    seed: int
    deployed: Weights = "last"
    precision: Precision = "fp32"
    incidents: Incidents | None = None
    snapshots: Snapshots | None = None
    validate: Callable[[nn.Module], Scores] | None = None
    rank: Callable[[float], float] = neg
    watch: Callable[[nn.Module], Scores] | None = None
    track: Callable[[Mapping[str, Any]], None] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    # Looked up once: that takes longer than what is done with them in a step.

    @cached_property
    def network(self) -> nn.Module:
        """The network without what `accelerator` put around it."""
        return self.accelerator.unwrap_model(self.model)

    @cached_property
    def trained(self) -> dict[str, Tensor]:
        """What training changes, by its name in a checkpoint: parameters and buffers themselves."""
        return trained_tensors(self.attached, self.network)

    @cached_property
    def clipped(self) -> list[nn.Parameter]:
        """The parameters whose gradients are clipped together."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]
