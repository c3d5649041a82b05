"""What a survey finds: one row per weight, and per block and domain."""

from dataclasses import dataclass, field

import torch

from minorkey.adapters.options import Role
from minorkey.evaluation.scores import DomainRole
from minorkey.spectrum.measures import Share

ROUNDING = 4 * torch.finfo(torch.float32).eps
"""Folding an adapter in and out moves a weight by this much, relative to its norm; less is no change."""


@dataclass(frozen=True)
class Row:
    """Which weight a row is about."""

    layer: str  # dotted name within the backbone; parts of a fused layer end in .q, .k, .v
    role: Role
    block: int  # 0-based
    out: int
    columns: int  # inputs; of a convolution in x k x k
    rank: int  # how many of the smallest (largest) singular components count as minor (major)


@dataclass(frozen=True)
class WeightRow(Row):
    """The spectrum of one weight."""

    energy: float  # |W|_F^2
    effective_rank: float
    stable_rank: float
    minor_share: float  # of the energy, in the `rank` smallest singular values
    singular_values: tuple[float, ...]  # descending


@dataclass(frozen=True)
class UpdateRow(Row):
    """What a training did to one weight. Every measure is 0 where it changed nothing beyond rounding."""

    energy: float  # |dW|_F^2
    relative_size: float  # |dW|_F / |W|_F
    effective_rank: float  # of dW
    stable_rank: float  # of dW
    major: Share  # of dW, in the `rank` largest triplets of the pretrained W
    minor: Share  # of dW, in the `rank` smallest
    random: Share  # either of them, for a random update of the same shape
    intruders: int  # among the 10 leading directions of the trained weight
    singular_values: tuple[float, ...]  # of dW, descending

    @property
    def changed(self) -> bool:
        """Whether the training changed this weight."""
        return self.energy > 0


@dataclass(frozen=True)
class DriftRow:
    """How far the output of one block moved on the images of one domain; means over images."""

    block: int
    domain: str
    role: DomainRole
    images: int
    change: float  # |f1 - f0|_F / |f0|_F over all tokens of an image
    angle: float  # 1 - cosine of a token before and after, mean over tokens: 0 ... 2
    cka: float  # linear CKA of the tokens of an image: 1 where equal up to rotation and scale


@dataclass(frozen=True)
class Spectrum:
    """All rows on one network; `update` and `drift` are empty for a backbone that was not trained."""

    target: str  # the run folder or backbone
    rank: int
    weights: list[WeightRow]  # of the pretrained weights
    update: list[UpdateRow] = field(default_factory=list)
    drift: list[DriftRow] = field(default_factory=list)
