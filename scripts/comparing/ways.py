"""The ways to adapt that are compared, and the rates that each may have."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from minorkey.adapters.specs import METHODS

FROZEN = "frozen"
LORA = "lora"
SOMA = "soma"

LOW_RANK = (3e-4, 1e-3, 3e-3)
MINOR = (1e-3, 3e-3, 1e-2)
"""For starts in the minor components; like all grids they go on where the best rate is at an edge."""

lora_as_soma = replace(
    METHODS[SOMA],
    name="lora_as_soma",
    title="LoRA, SoMA's blocks",
    description="SoMA in everything, blocks, biases and annealing, but for its start",
    start=METHODS[LORA].start,
    residual=METHODS[LORA].residual,
)
soma_of_last_third = replace(METHODS[SOMA], name="soma_of_last_third", title="SoMA, last third", frozen_share=2 / 3)


@dataclass(frozen=True)
class Way:
    """A way to adapt, and the rates that it may have."""

    method: Mapping[str, Any]
    rates: tuple[float, ...] = ()  # of what trains in the backbone; frozen: the setting says which
    training: Mapping[str, Any] = field(default_factory=dict)


WAYS = {
    FROZEN: Way({"name": "frozen"}),
    "full": Way({"name": "full"}, (3e-5, 1e-4, 3e-4)),
    LORA: Way({"name": "lora"}, LOW_RANK),
    "lora, SoMA's blocks": Way({"name": "comparing.ways:lora_as_soma"}, LOW_RANK),
    "pissa": Way({"name": "pissa"}, LOW_RANK),
    "milora": Way({"name": "milora"}, MINOR),
    "soma_as_released": Way({"name": "soma_as_released"}, MINOR),
    SOMA: Way({"name": "soma"}, MINOR),
    # Further ones, for those who ask for them by --ways.
    "dora": Way({"name": "dora"}, LOW_RANK),
    "mica": Way({"name": "mica"}, LOW_RANK),
    "soma, all blocks": Way({"name": "soma", "first_block": 0}, MINOR),
    "soma, last third": Way({"name": "comparing.ways:soma_of_last_third"}, MINOR),
    "soma, rank 4": Way({"name": "soma", "rank": 4, "alpha": 4}, MINOR),
    "soma, rank 64": Way({"name": "soma", "rank": 64, "alpha": 64}, MINOR),
    "soma, no annealing": Way({"name": "soma"}, MINOR, {"anneal_weight_decay": False}),
    "soma, no biases": Way({"name": "soma", "train_bias": False}, MINOR),
}

COMMON = tuple(WAYS)[: tuple(WAYS).index(SOMA) + 1]
"""Those of every setting."""
