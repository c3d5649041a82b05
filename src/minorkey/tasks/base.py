"""What a task is: its loss, and what a model says of an image."""

from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.labels import LabelSpace
from minorkey.tasks.options import TaskName
from minorkey.tasks.prediction import Prediction
from minorkey.tasks.protocol import Protocol as TestProtocol


class Task(Protocol):
    """How a model is trained and read."""

    @property
    def prediction_type(self) -> type[Prediction]:
        """What predictions are."""

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of the loss on a batch, by name; their sum is the loss."""

    def set_progress(self, model: nn.Module, share: float) -> None:
        """Tell the model how much of its training is done, 0 to 1."""

    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: TestProtocol, window_batch: int = 8) -> Any:
        """What a model says of a normalised image `(1, 3, H, W)` under a test protocol, in the task's own form.

        The arguments are those of `start`.
        """

    def start(self, model: nn.Module, pixel_values: Tensor, protocol: TestProtocol, window_batch: int = 8) -> list[Any]:
        """Begin to predict normalised images `(B, 3, H, W)`, without waiting for the device.

        Args:
            model: in evaluation mode.
            pixel_values: images of one size.
            protocol: how they are looked at.
            window_batch: the most windows in a pass.

        Returns:
            What `finish` makes a prediction of, for each image.
        """

    def finish(self, started: Any, image: np.ndarray, space: LabelSpace) -> Prediction:
        """The prediction of one image `(H, W, 3)` uint8; waits for the device, and may do so in another thread."""

    def prediction(self, said: Any, image: np.ndarray, space: LabelSpace, probabilities: bool = False) -> Prediction:
        """What `predict` gave of an image `(H, W, 3)` uint8, as something to look at and to keep.

        Args:
            said: the output of `predict`.
            image: what was looked at.
            space: the classes.
            probabilities: keep those of all classes as well.

        Raises:
            ConfigError: the task has no probabilities of all classes.
        """


def make_task(name: TaskName) -> Task:
    """The task of this name."""
    from minorkey.tasks.detection.task import Detection
    from minorkey.tasks.segmentation.task import Segmentation

    return Segmentation() if name == "segmentation" else Detection()
