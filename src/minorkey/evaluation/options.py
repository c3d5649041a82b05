"""What a user can say about the judging of a run."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from minorkey.system.bounds import MOST_BOXES, MOST_IMAGES, MOST_RUNS, Batch, Scale, Side
from minorkey.system.precision import Asked
from minorkey.tasks.protocol import DETECTIONS, Absent, refuse_gaps

Size = tuple[Side, Side]


class EvaluationOptions(BaseModel):
    """The test protocol, and what is kept of the judging."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Size | None = Field(
        None, description="height, width of the sliding window; default: the whole image, unless it is very large"
    )
    stride: Size | None = Field(None, description="height, width of its step; default: two thirds of the window")
    resize: Side | None = Field(None, description="long side of the image in pixels, bilinear; default: native")
    resize_in: dict[str, Side | None] = Field({}, description="long side in single domains, by their name")
    flip: bool = Field(False, description="average with the mirrored image")
    scales: tuple[Scale, ...] = Field(
        (1.0,), min_length=1, max_length=MOST_RUNS, description="average over these image scales"
    )
    classes: tuple[str, ...] | None = Field(None, description="only pixels of these classes count; default: all")
    absent: Absent = Field(
        "zero",
        description="a class that is predicted where the labels of a domain do not show it; zero: its IoU is 0, as in "
        "the evaluation of Cityscapes; skip: it is left out (segmentation)",
    )
    metric: str | None = Field(None, description="what is scored; default: miou for segmentation, coco for detection")
    detections: PositiveInt = Field(DETECTIONS, le=MOST_BOXES, description="the most per image that count (detection)")
    source: bool = Field(True, description="also judge the source domains, on their validation images")
    source_under: tuple[str, ...] = Field(
        (),
        max_length=MOST_RUNS,
        description="corruptions, e.g. [night@3, fog@3], under which the validation images of the source are judged "
        "besides: they stand in for domains that nobody has where weights (training.choose) and rates are chosen",
    )
    images: PositiveInt | None = Field(None, description="at most so many images per domain; default: all")
    precision: Asked = Field("auto", description="of all judging and predicting; auto: tf32 on GPUs that have it, fp32")
    batch_size: Batch = Field(8, description="windows per forward pass")
    pictures: int = Field(
        2, ge=0, le=MOST_IMAGES, description="images per domain whose prediction is kept for the report"
    )

    @model_validator(mode="after")
    def _stride_needs_window(self) -> Self:
        if self.stride and not self.window:
            raise ValueError("stride without window; give both")
        refuse_gaps(self.window, self.stride)
        return self
