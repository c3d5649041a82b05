"""What a user can say about adaptation to an unlabelled target: who teaches, and what each regime does."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RegimeName = Literal["supervised", "self_training", "transda"]

TeacherName = Literal["ema", "self", "adapter_ema", "base"]


class TeacherOptions(BaseModel):
    """The model that labels the target while the student learns (docs/adaptation.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: TeacherName = Field(
        "adapter_ema",
        description="ema: averaged copy of the whole network; adapter_ema: averages of what trains alone, on the "
        "student's frozen backbone; self: the student; base: the pretrained backbone under the student's head",
    )
    momentum: float = Field(0.999, ge=0, lt=1, description="share of the average that a step keeps")
    ramp: bool = Field(True, description="average evenly at first: the momentum of step t is at most 1 - 1 / (t + 1)")
    buffers: Literal["target", "student"] = Field(
        "target",
        description="running statistics of its batch norms: its own, from target images only, or the student's",
    )


class PatchOptions(BaseModel):
    """How patches of a target image are hidden (MIC, arXiv 2212.01322)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ratio: float = Field(0.7, gt=0, lt=1, description="share that is hidden")
    patch: int = Field(64, gt=0, description="side of a blanked patch in pixels")


class MaskingOptions(PatchOptions):
    """What is hidden of a target image for masked-image consistency (MIC, arXiv 2212.01322)."""

    hide: Literal["pixels", "tokens"] = Field(
        "pixels", description="pixels: patches are blanked; tokens: a plain ViT computes the visible ones only"
    )


class SelfTrainingOptions(BaseModel):
    """Online self-training; every part is a switch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup: int = Field(
        0, ge=0, description="first steps, that train on the source alone; for a head that knows nothing yet"
    )
    threshold: float = Field(0.968, ge=0, le=1, description="a pseudo-label is sure from this probability on")
    unsure: Literal["weigh", "drop", "keep"] = Field(
        "weigh",
        description="weigh: the share of sure pixels of an image weighs all of its pseudo-labels; drop: pixels that "
        "are not sure count in no loss; keep: every pixel counts alike",
    )
    balance: Literal["confidence", "prior"] | None = Field(
        None,
        description="so that classes that the teacher is unsure of do not vanish; confidence: the probability of a "
        "class is taken over how confident the teacher is where it says it; prior: classes are to be as frequent as "
        "in the source, which is right where domains differ in weather or light alone",
    )
    class_mix: bool = Field(True, description="paste half of the classes of a source image onto the target image")
    distort: bool = Field(True, description="photometric distortion of the mixed and masked images")
    masking: MaskingOptions | None = Field(
        MaskingOptions(), description="masked-image consistency; null switches it off"
    )
    feature_distance_source: float = Field(
        0.0, ge=0, description="weight of the distance to the pretrained features on source images"
    )
    feature_distance_target: float = Field(0.0, ge=0, description="the same on mixed target images")

    @model_validator(mode="before")
    @classmethod
    def _masking_switch(cls, values: dict) -> dict:
        if isinstance(values, dict) and isinstance(values.get("masking"), bool):
            return {**values, "masking": MaskingOptions() if values["masking"] else None}
        return values


class BoxSelfTrainingOptions(BaseModel):
    """Online self-training of detectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warmup: int = Field(0, ge=0, description="first steps, that train on the source alone")
    threshold: float = Field(0.5, gt=0, le=1, description="a box is a pseudo-label from this score on")
    weight: float = Field(1.0, ge=0, description="of the loss on target images")
    masking: PatchOptions | None = Field(None, description="patches of the target image that are hidden; null: none")


class TransdaOptions(BaseModel):
    """TransDA (arXiv 2203.07988): rounds of adversarial training with pseudo-labels written in between."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(3, ge=0, description="rounds with pseudo-labels, after the warm-up round")
    warmup_steps: int | None = Field(None, gt=0, description="steps of the warm-up round; default: training.steps")
    adversarial: float = Field(0.001, ge=0, description="weight of the adversarial loss")
    class_wise: bool = Field(False, description="the discriminator tells classes apart as well (2 K channels)")
    dynamic_weights: bool = Field(True, description="weigh pixels by their discrepancy between the domains")
    discriminator_lr: float = Field(1e-4, gt=0, description="Adam, betas 0.9 and 0.99")
