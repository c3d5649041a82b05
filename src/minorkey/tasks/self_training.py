"""What a task adds to self-training: labels from a teacher's outputs, and the views of target images to learn them of.

The regime (`regimes/self_training/`) runs the passes, hides parts of images and adds up losses, for any task. A task
that can be trained so names a model of its options (`Task.self_training`) and makes a labeller
(`Task.pseudo_labeller`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from minorkey.data.photometric import PhotometricConfig, distort, draw_distortion
from minorkey.data.sample import Batch, Pair, denormalise, normalise
from minorkey.system.bounds import Side
from minorkey.system.transfer import send


class MaskingOptions(BaseModel):
    """What is hidden of a target image for masked-image consistency (MIC, arXiv 2212.01322)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ratio: float = Field(0.7, gt=0, lt=1, description="share that is hidden")
    patch: Side = Field(64, description="side of a blanked patch in pixels")
    hide: Literal["pixels", "tokens"] = Field(
        "pixels", description="pixels: patches are blanked; tokens: a plain ViT computes the visible ones only"
    )


class SelfTrainingOptions(BaseModel):
    """Online self-training; every part is a switch. Tasks add theirs, and their own defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    former_section: ClassVar[str] = ""  # that a file may still have in place of `self_training`

    warmup: int = Field(
        0, ge=0, description="first steps, that train on the source alone; for a head that knows nothing yet"
    )
    threshold: float = Field(0.968, ge=0, le=1, description="a pseudo-label is sure from this probability on")
    weight: float = Field(1.0, ge=0, description="of the losses on target images")
    masking: MaskingOptions | None = Field(
        MaskingOptions(), description="masked-image consistency; null switches it off"
    )
    feature_distance_source: float = Field(
        0.0, ge=0, description="weight of the distance to the pretrained features on source images"
    )
    feature_distance_target: float = Field(
        0.0, ge=0, description="the same on target images, in the first view of them that is learnt"
    )

    @model_validator(mode="before")
    @classmethod
    def _masking_switch(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("masking"), bool):
            return {**values, "masking": MaskingOptions() if values["masking"] else None}
        return values


@dataclass(frozen=True)
class Colours:
    """How target images are normalised, and how their colours may be distorted."""

    photometric: PhotometricConfig | None  # None: they are not
    mean: tuple[float, ...]  # per channel, of images in [0, 1]
    std: tuple[float, ...]

    def distorted(self, images: Tensor, filled: Tensor) -> Tensor:
        """Every image of a batch with a random distortion of its own.

        Args:
            images: `(B, 3, H, W)`, normalised.
            filled: `(B, H, W)` bool; where it is false there is no image, and the result is 0.
        """
        if self.photometric is None:
            return images
        # The loop seeds the global state by the step, so that a resumed run draws the same.
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        drawn = np.array([draw_distortion(self.photometric, rng) for _ in images], np.float32)
        distorted = distort(denormalise(images, self.mean, self.std).clamp(0, 1), send(drawn, images.device))
        return normalise(distorted, self.mean, self.std) * filled[:, None]


@dataclass(frozen=True)
class View:
    """Target images as a student is to see them, with pseudo-labels in place of labels."""

    batch: Batch
    weights: Tensor | None = None  # of the labels, as `Task.loss` takes them; None: all count alike
    masked: bool = False  # whether the regime hides parts of the images, as `masking` has it
    compared: Tensor | None = None  # the teacher's train ids that the student's are compared with, IGNORE_INDEX: none


class PseudoLabeller(nn.Module, ABC):
    """Makes pseudo-labels of one batch after another; what it keeps in between are submodules and their buffers.

    The form of the labels is the task's own; only its labeller looks into them.
    """

    @abstractmethod
    def label(self, network: nn.Module, batch: Pair) -> Any:
        """The labels of the target images, as they were taken, by a network that has the teacher's weights.

        Labels of the target that the batch may have are not looked at.
        """

    @abstractmethod
    def signals(self, labels: Any, batch: Pair) -> dict[str, Tensor]:
        """Signs of health of these labels that need no truth, scalars or `(K,)`; see `health_signals`."""

    @abstractmethod
    def views(self) -> Mapping[str, Callable[[Pair, Any], View]]:
        """What the student learns in a step: the names of the losses, each with what makes its view of the labels.

        They are asked for in this order, each after the loss of the one before it was backpropagated.
        """
