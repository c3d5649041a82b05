"""The table of adaptation methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from minorkey.catalog import Catalog

Trains = Literal["adapter", "norms", "biases", "everything", "nothing"]

Start = Literal["minor", "random_minor", "pissa", "olora", "mica"]
"""Where the low-rank factors start, when not from random A and B = 0.

`minor`: the smallest singular triplets of the weight; `random_minor`: those of a random matrix of its shape;
the others are PEFT's initialisations of these names.
"""

Factors = tuple[Tensor, Tensor]
"""`A (r, in)` and `B (out, r)`; of a convolution's kernel `(out, in, k, k)`, in is `in k k`."""

OwnStart = Callable[[Tensor, int, float], Factors]
"""`(W (out, in), r, s) -> A, B` of an update `s B A`; what is random comes from torch's default generator."""


@dataclass(frozen=True)
class MethodSpec:
    """What a method does to a backbone, unless the run's `MethodOptions` say otherwise."""

    name: str
    title: str  # as tables and pictures call it
    description: str
    trains: Trains
    start: Start | OwnStart | None = None
    residual: bool = False  # the weight becomes W - s B A, so that the factors take over a part of it
    freezes_b: bool = False  # only A trains
    peft: Mapping[str, Any] = field(default_factory=dict)  # what PEFT's LoraConfig is told beside rank and layers
    frozen_share: float = 0.0  # share of the blocks, from the first, that gets no adapter
    trains_biases: bool = False  # of the adapted layers
    anneals_weight_decay: bool = False  # cosine from its initial value over the run
    keeps_output: bool = True  # the network computes the same right after attachment

    def default_first_block(self, blocks: int) -> int:
        """Index of the first adapted block (0-based) of a backbone with this many blocks."""
        return round(blocks * self.frozen_share)


_SPECS = (
    # The paper freezes 8 of 24 blocks of DINOv2 ViT-L and about 2 of 12 of ViT-B. A third is the rule for
    # ViT-L; it gives 4 of 12, so a run that follows the paper on ViT-B sets first_block=2.
    MethodSpec(
        name="soma",
        title="SoMA",
        description="Tune the minor singular components, later blocks only (SoMA, arXiv 2412.04077)",
        trains="adapter",
        start="minor",
        residual=True,
        frozen_share=1 / 3,
        trains_biases=True,
        anneals_weight_decay=True,
    ),
    MethodSpec(
        name="soma_as_released",
        title="SoMA as released",
        description="What the authors' public code ends up doing: factors from a random matrix, W left whole",
        trains="adapter",
        start="random_minor",
        frozen_share=1 / 3,
        trains_biases=True,
        anneals_weight_decay=True,
        keeps_output=False,
    ),
    # The baselines follow common practice: every block, no biases, constant weight decay.
    MethodSpec(
        name="milora",
        title="MiLoRA",
        description="SoMA's start on every block, without freezing or annealing (MiLoRA, arXiv 2406.09044)",
        trains="adapter",
        start="minor",
        residual=True,
    ),
    MethodSpec(
        name="mica",
        title="MiCA",
        description="Minor left singular vectors as a frozen B, train A from zero (MiCA, arXiv 2604.01694)",
        trains="adapter",
        start="mica",
        freezes_b=True,
    ),
    MethodSpec(
        name="lora",
        title="LoRA",
        description="Low-rank update from zero, B = 0 (LoRA, arXiv 2106.09685)",
        trains="adapter",
    ),
    MethodSpec(
        name="rslora",
        title="rsLoRA",
        description="LoRA scaled by alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732)",
        trains="adapter",
        peft={"use_rslora": True},
    ),
    MethodSpec(
        name="dora",
        title="DoRA",
        description="LoRA for the direction of each row, and its length apart (DoRA, arXiv 2402.09353)",
        trains="adapter",
        peft={"use_dora": True},
    ),
    MethodSpec(
        name="pissa",
        title="PiSSA",
        description="Tune the major singular components (PiSSA, arXiv 2404.02948)",
        trains="adapter",
        start="pissa",
        residual=True,
    ),
    MethodSpec(
        name="olora",
        title="OLoRA",
        description="Tune the leading part of the QR decomposition (OLoRA, arXiv 2406.01775)",
        trains="adapter",
        start="olora",
        residual=True,
    ),
    MethodSpec(
        name="norm",
        title="Norms only",
        description="Train the normalisation layers (LN tuning, arXiv 2312.11420)",
        trains="norms",
    ),
    MethodSpec(
        name="bias",
        title="Biases only",
        description="Train the biases (BitFit, arXiv 2106.10199)",
        trains="biases",
    ),
    MethodSpec(
        name="full",
        title="Full fine-tuning",
        description="Train every weight of the backbone",
        trains="everything",
    ),
    MethodSpec(
        name="frozen",
        title="Frozen backbone",
        description="Train nothing of the backbone, only the head",
        trains="nothing",
    ),
)

METHODS: dict[str, MethodSpec] = {spec.name: spec for spec in _SPECS}

ALIASES = {"sora": "soma"}  # the authors' first name for it

CATALOG: Catalog[MethodSpec] = Catalog(
    "method", METHODS, "a MethodSpec", lambda part: isinstance(part, MethodSpec), ALIASES
)


def method_spec(name: str) -> MethodSpec:
    """The row of a method, by its name, an alias, or `package.module:attribute`.

    Raises:
        ConfigError: if no method has this name.
        OutsideError: a method from outside cannot be imported, or is none.
    """
    return CATALOG.resolve(name)
