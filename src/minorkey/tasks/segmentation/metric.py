"""How segmentation is scored: mIoU, from the confusion matrix of every image."""

from collections.abc import Mapping, Sequence

from numpy.typing import NDArray

from minorkey.data.sample import Sample
from minorkey.tasks.evidence import unlabelled
from minorkey.tasks.metric import Evaluator, Metric
from minorkey.tasks.predictor import Started
from minorkey.tasks.segmentation.confusion import confusion_matrix
from minorkey.tasks.segmentation.evidence import ACCURACY, Cells, PixelEvidence, cells_of


class PixelEvaluator(Evaluator):
    """Notes the cells of an image's confusion matrix, which are counted on the device."""

    def note(self, sample: Sample, started: Started) -> Cells:
        """The cells that are not 0."""
        if sample.labels is None:
            raise unlabelled(sample, "labels")
        return cells_of(confusion_matrix(started.on_device, sample.labels, self.num_classes))

    def evidence(self, notes: Sequence[Cells]) -> PixelEvidence:
        """Those of all images of a domain."""
        return PixelEvidence.of(notes, self.num_classes, self.protocol.absent)

    def restored(self, arrays: Mapping[str, NDArray]) -> dict[str, PixelEvidence]:
        """From columns, or, as an earlier version has it, from a matrix of each image."""
        return PixelEvidence.restored(arrays, self.protocol.absent)


METRICS = {
    "miou": Metric(
        "mIoU",
        "Pixels are summed over the images of a domain, then the IoU of its classes is averaged.",
        PixelEvaluator,
        class_name="IoU",
        of_truth=ACCURACY,
        rule="{protocol.absent_rule}",
        evidence_file="confusions.safetensors",
    )
}
