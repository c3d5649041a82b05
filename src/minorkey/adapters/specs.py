"""The table of adaptation methods."""

from dataclasses import dataclass
from typing import Literal

from minorkey.errors import ConfigError, unknown

Init = Literal["minor", "major", "random"]
"""Start of the low-rank factors: smallest or largest singular triplets, or random A with B = 0."""

Trains = Literal["adapter", "everything", "nothing"]


@dataclass(frozen=True)
class MethodSpec:
    """What a method does to a backbone, unless the run's `MethodOptions` say otherwise."""

    name: str
    description: str
    trains: Trains
    init: Init | None = None  # None: no low-rank factors
    frozen_share: float = 0.0  # share of the blocks, from the first, that gets no adapter
    trains_biases: bool = False  # of the adapted layers
    anneals_weight_decay: bool = False  # cosine from its initial value over the run

    @property
    def residual(self) -> bool:
        """Whether the base weight becomes `W - s B A`, so that the factors start from a part of it."""
        return self.init in ("minor", "major")

    def default_first_block(self, blocks: int) -> int:
        """Index of the first adapted block (0-based) of a backbone with this many blocks."""
        return round(blocks * self.frozen_share)


_SPECS = (
    # The paper freezes 8 of 24 blocks of DINOv2 ViT-L and about 2 of 12 of ViT-B. A third is the rule for
    # ViT-L; it gives 4 of 12, so a run that follows the paper on ViT-B sets first_block=2.
    MethodSpec(
        name="soma",
        description="Tune the minor singular components, later blocks only (SoMA, arXiv 2412.04077)",
        trains="adapter",
        init="minor",
        frozen_share=1 / 3,
        trains_biases=True,
        anneals_weight_decay=True,
    ),
    # The two baselines follow common practice: every block, no biases.
    MethodSpec(
        name="lora",
        description="Low-rank update from zero, B = 0 (LoRA, arXiv 2106.09685)",
        trains="adapter",
        init="random",
    ),
    MethodSpec(
        name="pissa",
        description="Tune the major singular components (PiSSA, arXiv 2404.02948)",
        trains="adapter",
        init="major",
    ),
    MethodSpec(name="full", description="Train every weight of the backbone", trains="everything"),
    MethodSpec(name="frozen", description="Train nothing of the backbone, only the head", trains="nothing"),
)

METHODS: dict[str, MethodSpec] = {spec.name: spec for spec in _SPECS}

ALIASES = {"sora": "soma"}  # the authors' first name for it


def method_spec(name: str) -> MethodSpec:
    """The row of a method, by its name or an alias.

    Raises:
        ConfigError: if no method has this name.
    """
    try:
        return METHODS[ALIASES.get(name, name)]
    except KeyError:
        raise ConfigError(unknown("method", name, [*METHODS, *ALIASES])) from None
