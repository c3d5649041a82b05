"""What teacher and student predict for a few target images while a training goes on, as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from minorkey.adapters.held import exact
from minorkey.data.sample import Sample
from minorkey.models.modes import evaluating
from minorkey.regimes.teachers import Teacher
from minorkey.system.names import below
from minorkey.system.storage import save_png


class Snapshots:
    """Pictures of the same images at several steps: `step-<step>/<domain>/<key>/{image,teacher,student,kept}.png`.

    Teacher and student are train ids in grey; kept is 255 where the teacher's confidence reaches the threshold.

    Args:
        folder: they are written below it.
        samples: the images, as read, at any size; their labels are not looked at.
        predict: class probabilities `(K, H, W)` of an image as samples have it.
        threshold: of the confidence, in [0, 1].
    """

    def __init__(
        self,
        folder: Path,
        samples: Sequence[Sample],
        predict: Callable[[nn.Module, np.ndarray], Tensor],
        threshold: float,
    ) -> None:
        self.folder = folder
        self.samples = samples
        self.predict = predict
        self.threshold = threshold

    @torch.no_grad()
    def take(self, step: int, student: nn.Module, teacher: Teacher) -> None:
        """Write the pictures of a step; those that it left before a resume are replaced by equal ones.

        Draws no random numbers, and leaves every module in the mode it was in.

        Raises:
            StorageError: a picture cannot be written.
        """
        with teacher.installed() as network, evaluating(network), exact(network):
            pseudo_labels = [self._pseudo_label(network, sample.image) for sample in self.samples]
        with evaluating(student), exact(student):
            predictions = [_grey(self.predict(student, sample.image).argmax(dim=0)) for sample in self.samples]
        for sample, of_teacher, of_student in zip(self.samples, pseudo_labels, predictions, strict=True):
            place = below(self.folder / f"step-{step:07d}", sample.domain, sample.key)
            for name, picture in {
                "image": Image.fromarray(sample.picture),
                "student": of_student,
                **of_teacher,
            }.items():
                save_png(picture, place / f"{name}.png")

    def _pseudo_label(self, network: nn.Module, image: np.ndarray) -> dict[str, Image.Image]:
        """The pseudo-labels of an image, and which are kept, on the host: probabilities of all images would be much."""
        confidence, pseudo_labels = self.predict(network, image).max(dim=0)
        return {"teacher": _grey(pseudo_labels), "kept": _grey(255 * (confidence >= self.threshold))}


def _grey(values: Tensor) -> Image.Image:
    """Integers `(H, W)` in 0 ... 255 as a picture."""
    return Image.fromarray(values.to(torch.uint8).cpu().numpy())
