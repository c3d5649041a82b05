"""The part of a run's configuration that says how the backbone is adapted."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from minorkey.adapters.specs import MethodSpec, method_spec

Role = Literal["q", "k", "v", "out", "fc1", "fc2"]
"""What a layer does in its block: query, key, value, attention output, first and second MLP layer."""


class MethodOptions(BaseModel):
    """A method and what is set differently from its row in `specs.METHODS`.

    All but `name` concern low-rank methods; `full` and `frozen` take no notice of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "soma"
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=16.0, gt=0)  # the update is scaled by s = alpha / rank
    first_block: int | None = Field(default=None, ge=0)  # first adapted block, 0-based; None: the method's rule
    roles: tuple[Role, ...] | None = Field(default=None, min_length=1)  # None: all
    train_bias: bool | None = None  # of the adapted layers; None: the method's rule

    @field_validator("name")
    @classmethod
    def _resolve_alias(cls, name: str) -> str:
        return method_spec(name).name

    @property
    def spec(self) -> MethodSpec:
        """The row of the method."""
        return method_spec(self.name)

    @property
    def scaling(self) -> float:
        """The factor `s = alpha / rank` of the low-rank update."""
        return self.alpha / self.rank

    @property
    def trains_biases(self) -> bool:
        """Whether the biases of the adapted layers train."""
        return self.spec.trains_biases if self.train_bias is None else self.train_bias
