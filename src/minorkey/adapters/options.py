"""The part of a run's configuration that says how the backbone is adapted."""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from minorkey.adapters.specs import CATALOG, MethodSpec, method_spec
from minorkey.errors import ConfigError
from minorkey.system.bounds import MOST_SIDE
from minorkey.system.faults import one_line

Role = Literal["q", "k", "v", "out", "fc1", "fc2", "conv"]
"""What a layer does in its block: query, key, value, attention output, first and second MLP layer, or a
convolution over neighbouring pixels."""


class MethodOptions(BaseModel):
    """A method and what is set differently from its row in `specs.METHODS`.

    All but `name` concern low-rank methods; the others take no notice of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field("soma", description="a row of the table of methods, or your own as package.module:attribute")
    rank: int = Field(16, ge=1, le=MOST_SIDE, description="columns of B and rows of A")
    rank_ramp: dict[int, int] | None = Field(
        None, min_length=1, description="rank from a block on: {0: 4, 8: 16} is 4 in blocks 0 to 7, then 16"
    )
    alpha: float = Field(16.0, gt=0, description="the update is scaled by alpha / rank")
    first_block: int | None = Field(None, ge=0, description="first adapted block, 0-based; default: the method's rule")
    roles: tuple[Role, ...] | None = Field(None, min_length=1, description="which layers of a block; default: all")
    layers: dict[Role, tuple[str, ...]] = Field(
        default={}, description="further layer names within a block, for a network of your own: {fc1: [ffn.up]}"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of the input of the low-rank branch, in training")
    train_bias: bool | None = Field(None, description="biases of the adapted layers; default: the method's rule")

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(one_line(error, MethodOptions, "method")) from error

    @field_validator("name")
    @classmethod
    def _resolve_alias(cls, name: str) -> str:
        CATALOG.resolve(name)
        return CATALOG.canonical(name)

    @field_validator("rank_ramp")
    @classmethod
    def _check_ramp(cls, ramp: dict[int, int] | None) -> dict[int, int] | None:
        for block, rank in (ramp or {}).items():
            if block < 0 or rank < 1:
                raise ValueError(f"block {block} has rank {rank}; expected a block from 0 and a rank from 1")
        return ramp

    @property
    def spec(self) -> MethodSpec:
        """The row of the method."""
        return method_spec(self.name)

    @property
    def trains_biases(self) -> bool:
        """Whether the biases of the adapted layers train."""
        return self.spec.trains_biases if self.train_bias is None else self.train_bias

    def rank_in(self, block: int) -> int:
        """The rank in a block (0-based): that of the last step of `rank_ramp` at or before it, else `rank`."""
        steps = [start for start in self.rank_ramp or {} if start <= block]
        return self.rank_ramp[max(steps)] if self.rank_ramp and steps else self.rank

    def scaling_in(self, block: int) -> float:
        """The factor s of the update in a block: `alpha / rank`, or `alpha / sqrt(rank)` with rsLoRA."""
        rank = self.rank_in(block)
        return self.alpha / (math.sqrt(rank) if self.spec.peft.get("use_rslora") else rank)


def SoMA(**settings: Any) -> MethodOptions:
    """Options of SoMA: `SoMA(rank=16, first_block=8)` is `MethodOptions(name="soma", rank=16, first_block=8)`.

    Raises:
        ConfigError: a setting is unknown or out of range, or another name is given.
    """
    if "name" in settings:
        raise ConfigError("SoMA is named soma; for another method give MethodOptions(name=...)")
    return MethodOptions(name="soma", **settings)
