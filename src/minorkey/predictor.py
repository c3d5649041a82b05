"""A finished run as something to use: the folded network with its preprocessing and label space."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from minorkey.data.images import read_image
from minorkey.data.transforms import to_tensor
from minorkey.errors import DataError
from minorkey.evaluation.protocol import Protocol
from minorkey.labels import LabelSpace
from minorkey.models.options import Triple
from minorkey.precision import Precision, computing
from minorkey.tasks.prediction import Prediction
from minorkey.tasks.segmentation import Segmentation
from minorkey.tasks.task import Task

ImageLike = str | Path | Image.Image | np.ndarray


@dataclass
class Predictor:
    """A trained model, ready for images.

    `model` is an ordinary transformers model; nothing of an adapter is left in it.
    """

    model: PreTrainedModel
    space: LabelSpace
    protocol: Protocol
    mean: Triple
    std: Triple
    window_batch: int = 8
    task: Task = field(default_factory=Segmentation)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    @property
    def precision(self) -> Precision:
        """What the model computes in."""
        return self.protocol.precision

    def in_domain(self, domain: str) -> "Predictor":
        """The same model under the protocol of one domain, where the image may have a size of its own."""
        return replace(self, protocol=self.protocol.in_domain(domain))

    @property
    def prediction_type(self) -> type[Prediction]:
        """What predictions are."""
        return self.task.prediction_type

    def predict(self, images: ImageLike | Sequence[ImageLike], probabilities: bool = False) -> Any:
        """Segment an image, or find the objects in it, or in each of a list.

        Args:
            images: path, PIL image or array `(H, W, 3)` uint8 RGB (or `(H, W)` grey), or a list of these.
            probabilities: also return the probability of every class, `(K, H, W)` (segmentation).

        Returns:
            A `SegmentationPrediction` or a `DetectionPrediction`, or a list of them.

        Raises:
            DataError: an image is missing, broken or no image.
            ConfigError: probabilities are asked of a detector.
        """
        if isinstance(images, (list, tuple)):
            return [self.predict_one(as_rgb(image), probabilities) for image in images]
        return self.predict_one(as_rgb(images), probabilities)  # type: ignore[arg-type]

    def predict_one(self, image: np.ndarray, probabilities: bool = False) -> Any:
        """Predict one `(H, W, 3)` uint8 RGB image."""
        return self.task.prediction(self.said(image), image, self.space, probabilities)

    @torch.inference_mode()
    def said(self, image: np.ndarray) -> Any:
        """What the model says of an image, in the form of `task.predict`, on the model's device."""
        pixel_values = to_tensor(image, self.mean, self.std)[None].to(self.device)
        with computing(self.model, self.precision):
            return self.task.predict(self.model, pixel_values, self.protocol, self.window_batch)

    def probabilities(self, image: np.ndarray) -> Tensor:
        """Class probabilities `(K, H, W)` of segmentation, on the model's device; they sum to 1 at each pixel.

        Those of a mask model are its class scores, divided by their sum.
        """
        return self.said(image)[0]


def as_rgb(image: ImageLike) -> np.ndarray:
    """Any accepted image as `(H, W, 3)` uint8 RGB.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    array = np.asarray(image)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise DataError(f"got an array of shape {array.shape} and type {array.dtype}; expected (H, W, 3) uint8 RGB")
    return array
