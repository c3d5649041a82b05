"""What a knock-out finds: one row per block, end of the spectrum and domain."""

from pydantic import BaseModel, ConfigDict

from minorkey.adapters.decompose import End
from minorkey.evaluation.scores import Role
from minorkey.tasks.protocol import METRICS, Metric

Setting = tuple[int | None, End]
"""A block (None: all together) and the end of its spectrum that is removed."""


class KnockoutRow(BaseModel):
    """What one domain loses without the components at one end of a block's weights.

    Scores are fractions. A loss is the intact score minus the one without the components: above 0 where they
    were of use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    block: int | None  # 0-based; None: all blocks together
    which: End
    share: float  # of the singular values of every weight
    domain: str
    role: Role
    images: int
    metric: Metric  # of the scores
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
    def score_name(self) -> str:
        """What the score of a domain is called: mIoU, AP or AP50."""
        return METRICS[self.metric].name
