"""Image classification: its loss, and the class of whole images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from minorkey.data.records import Record
from minorkey.data.sample import Batch, Sample
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError
from minorkey.labels import LabelSpace
from minorkey.models.classifiers import CLASSIFICATION_HEADS
from minorkey.tasks.base import Task
from minorkey.tasks.classification import gallery
from minorkey.tasks.classification.crops import category_transform
from minorkey.tasks.classification.deployed import deployed, from_deployed
from minorkey.tasks.classification.exported import EXPORTED
from minorkey.tasks.classification.metric import METRICS
from minorkey.tasks.classification.prediction import CategoryPrediction
from minorkey.tasks.classification.pseudo_labels import CategoryLabeller, CategorySelfTrainingOptions
from minorkey.tasks.deployed import Deployed, Outputs, Scale, Size
from minorkey.tasks.exported import Exported
from minorkey.tasks.gallery import GalleryWords, Kept, Scene
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.self_training import Colours

if TYPE_CHECKING:
    from minorkey.config import RunConfig


class Classification(Task):
    """A class for each image: any model with logits `(B, K)` and losses `(B,)` as `models.heads.classification`."""

    name = "classification"
    annotation = "category"
    heads = CLASSIFICATION_HEADS
    default_head = "pooled"
    label_space = "source"
    fewest_classes = 2
    metrics = METRICS
    main_term = "classification"
    loss_options = frozenset({"class_weights"})
    prediction_type = CategoryPrediction
    self_training = CategorySelfTrainingOptions
    unused = dict.fromkeys(
        ("window", "stride", "resize", "resize_in", "scales"),
        "is not for classification, which sees images at transform.crop",
    ) | {
        "absent": "is for segmentation; accuracies are shares of the images that show a class",
        "detections": "is for detection",
    }

    def crop(
        self, sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
    ) -> Sample:
        """A random part of the image with its class."""
        assert wanted is None, "classes are counted, and wanted, in pixels"
        return category_transform(sample, config, rng)

    def collate(self, samples: Sequence[Sample], size: tuple[int, int]) -> Tensor | None:
        """Train ids `(B,)` int64; None where an image of them is not labelled."""
        categories = [sample.category for sample in samples]
        return None if None in categories else torch.tensor(categories, dtype=torch.int64)

    def loss(self, model: nn.Module, batch: Batch, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy, a mean over the images, each times its weight `(B,)`."""
        return self.loss_and_probabilities(model, batch, weights)[0]

    def loss_and_probabilities(
        self, model: nn.Module, batch: Batch, weights: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """As `loss`, with a call that gives the class probabilities `(B, K)` of the same pass, without its graph.

        Where the model trains with mixup (arXiv 1710.09412), image i is shown as l x_i + (1 - l) x_j with another image
        j of the batch and one share l ~ Beta(a, a), and its loss is l L(y_i) + (1 - l) L(y_j). Of l and 1 - l the
        larger is taken: the batch is as likely in another order, and most of what is shown in place i is image i.
        """
        bare = extract_model_from_parallel(model)
        images, labels = batch.pixel_values, batch.labels
        share, order = _drawn(bare, len(images))
        if order is not None:
            images = share * images + (1 - share) * images[order]
        logits = model(pixel_values=images).logits.float()
        losses = bare.losses(logits, labels) * (1.0 if weights is None else weights)
        if order is not None:
            others = bare.losses(logits, labels[order]) * (1.0 if weights is None else weights[order])
            losses = share * losses + (1 - share) * others
        return {"classification": losses.mean()}, lambda: logits.detach().softmax(dim=1)

    def class_probabilities(self, model: nn.Module, pixel_values: Tensor) -> Tensor:
        """Class probabilities `(B, K)` of training crops `(B, 3, H, W)`, in one pass."""
        return model(pixel_values=pixel_values).logits.float().softmax(dim=1)

    def pseudo_labeller(self, options: Any, classes: int, colours: Colours) -> CategoryLabeller:
        """The classes that a teacher is sure of."""
        return CategoryLabeller(self.class_probabilities, options, classes)

    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Tensor:
        """Class probabilities `(B, K)` of normalised images `(B, 3, H, W)` in the size of training."""
        views = [pixel_values, pixel_values.flip(-1)] if protocol.flip else [pixel_values]
        probabilities = [
            torch.cat([self.class_probabilities(model, part) for part in view.split(window_batch)]) for view in views
        ]
        return torch.stack(probabilities).mean(dim=0)

    def start(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> list[Tensor]:
        """Class probabilities `(K,)` of each image."""
        return list(self.predict(model, pixel_values, protocol, window_batch))

    def finish(self, started: Tensor, image: np.ndarray, space: LabelSpace) -> CategoryPrediction:
        """The class."""
        return CategoryPrediction(started.cpu().numpy(), image, space)

    def prediction(
        self, said: Tensor, image: np.ndarray, space: LabelSpace, probabilities: bool = False
    ) -> CategoryPrediction:
        """The class, always with the probabilities of all."""
        return self.finish(said[0], image, space)

    def protocol(self, config: "RunConfig") -> dict[str, Any]:
        """The size that images are brought to."""
        return {"input_size": config.transform.crop}

    def record(self, sample: Sample, classes: int) -> Record:
        """The size of the image, and 1 of its class."""
        record = super().record(sample, classes)
        if sample.category is None:
            return record
        return replace(record, counts=tuple(int(place == sample.category) for place in range(classes)))

    def label_text(self, sample: Sample, space: LabelSpace) -> str:
        """The class."""
        return "" if sample.category is None else space.classes[sample.category]

    def exported(self, model: PreTrainedModel) -> Exported:
        """How others load a classifier."""
        return EXPORTED

    def deployed(self, model: PreTrainedModel, protocol: Protocol, scale: Scale) -> Deployed:
        """What of it goes into one graph."""
        if scale != "full":
            raise ConfigError(f"--coarse is for the scores of pixels, which {self.name} has none of; leave it out")
        return deployed(model)

    def from_deployed(self, outputs: Outputs, canvas: Size, size: Size) -> ModelOutput:
        """What a model would have given."""
        return from_deployed(outputs)

    def keep(self, sample: Sample, prediction: CategoryPrediction, folder: Path) -> None:
        """Write the image, the prediction, and both classes."""
        gallery.keep(sample, prediction, folder)

    def scene(self, kept: Kept, space: LabelSpace) -> Scene:
        """The image beside what each run took it for."""
        return gallery.scene(kept, space)

    def gallery_words(self) -> GalleryWords:
        """What stands around the scenes."""
        return gallery.WORDS


def _drawn(model: Any, batch: int) -> tuple[float, Tensor | None]:
    """The share of an image in its blend, and the images that it is blended with; None: it is not.

    From the global state on the host, which the loop seeds by the step, so that a resumed run draws the same.
    """
    a = model.config.mixup
    if not model.training or not a or batch < 2:
        return 1.0, None
    share = float(torch.distributions.Beta(a, a).sample())
    return max(share, 1 - share), torch.randperm(batch)
