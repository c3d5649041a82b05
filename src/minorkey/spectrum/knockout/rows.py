"""What a knock-out finds: one row per block, end of the spectrum and domain."""

from pydantic import BaseModel, ConfigDict

from minorkey.adapters.decompose import End
from minorkey.evaluation.scores import DomainRole
from minorkey.tasks.metric import Metric
from minorkey.tasks.scored import metric_named

Setting = tuple[int | None, End]
"""A block (None: all together) and the end of its spectrum that is removed."""


class KnockoutRow(BaseModel):
    """What one domain loses without the components at one end of a block's weights.

    A loss is the intact score minus the one without the components, of a metric that is better when it is lower the
    other way round: above 0 where they were of use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    block: int | None  # 0-based; None: all blocks together
    which: End
    share: float  # of the singular values of every weight
    domain: str
    role: DomainRole
    images: int
    metric: str  # of the scores
    task: str | None = None  # whose metric it is, as in `Protocol`
    intact: float  # score of the untouched model
    without: float  # score without the components
    loss: float
    low: float  # 95 % bootstrap over images, paired with the intact model
    high: float
    class_loss: dict[str, float | None]  # None where the class is not in the images

    @property
    def block_name(self) -> str:
        """The block's number as text, or "all"."""
        return "all" if self.block is None else str(self.block)

    @property
    def scored(self) -> Metric:
        """What the scores are called, and are in."""
        return metric_named(self.metric, self.task)
