"""The contract of a task: all that the rest of the package asks, so that nothing else knows which tasks there are.

A new task is a folder with a subclass of `Task`, and a row in `table.py`. What it inherits refuses in one line, or does
nothing, until it says otherwise. Instances have no state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from minorkey.catalog import Catalog
from minorkey.data.records import Record
from minorkey.data.sample import Batch, HostLabels, Sample, on_device
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError, ModelError, unknown
from minorkey.labels import LabelSpace, label_space
from minorkey.labels.written import SpaceRow
from minorkey.models.build import Head
from minorkey.models.options import HeadOptions
from minorkey.system.storage import save_png
from minorkey.tasks.counted import IMAGES, Counted
from minorkey.tasks.counts import Counts
from minorkey.tasks.deployed import Deployed, Outputs, Scale, Size
from minorkey.tasks.exported import Exported
from minorkey.tasks.gallery import GalleryWords, Kept, plain_scene
from minorkey.tasks.metric import Metric
from minorkey.tasks.prediction import Prediction
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.self_training import Colours, PseudoLabeller, SelfTrainingOptions

if TYPE_CHECKING:
    from minorkey.config import RunConfig

Annotation = Literal["pixels", "boxes", "category"]
"""What readers are asked to label images with: a class for every pixel, boxes with a class, or a class of the image."""


class Task(ABC):
    """How a model is built, trained and read."""

    # --- identity and configuration

    name: ClassVar[str]
    annotation: ClassVar[Annotation]
    heads: ClassVar[Catalog[Head]]
    default_head: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]  # what may be scored, by `evaluation.metric`; the default first
    label_space: ClassVar[str] = "cityscapes19"  # unless a configuration names one
    fewest_classes: ClassVar[int] = 1  # that it can learn to tell apart: 2 where every pixel or image has one of them
    demo: ClassVar[str | None] = None  # preset of `minorkey demo --task`
    demo_note: ClassVar[str] = ""  # what pages say of the model that ships, where all runs begin with it
    builtin_head: ClassVar[str | None] = None  # folder of the head that ships, beside the built-in backbone
    main_term: ClassVar[str | None] = None  # of `loss`: logged by what it was learnt of alone, e.g. `source`

    unused: ClassVar[Mapping[str, str]] = {}  # options of the evaluation that it has no use for -> why, for the error
    unused_transforms: ClassVar[tuple[str, ...]] = ()  # of `transform`, likewise
    loss_options: ClassVar[frozenset[str]] = frozenset()  # of the head's, that its loss reads
    loss_alone: ClassVar[frozenset[str]] = frozenset()  # those of them that leave no trace in a head's weights

    def check(self, config: "RunConfig") -> None:
        """Refuse what a configuration asks and this task cannot do, beyond its head and its metric.

        Raises:
            ValueError: says which keys, and what to do.
        """
        config.transform.refuse(self.unused_transforms)
        options = config.evaluation
        for name, why in self.unused.items():
            if getattr(options, name) != type(options).model_fields[name].default:
                raise ValueError(f"evaluation.{name} {why}")
        for name in config.head.of_loss:
            if name not in self.loss_options:
                raise ValueError(
                    f"head.{name} is not for {self.name}, whose heads have losses of their own; leave it out"
                )

    # --- data

    def space(self, written: str | SpaceRow) -> LabelSpace:
        """The label space that is written so, to learn its classes.

        Raises:
            ConfigError: there is none, or it has too few classes for there to be anything to learn.
        """
        space = label_space(written)
        if len(space) >= self.fewest_classes:
            return space
        raise ConfigError(
            f"label space '{space.name.removesuffix(',')}' has one class, '{space.classes[0]}', which {self.name} "
            "would always find; name what else there is as a class too, e.g. background, in place of `ignore`"
        )

    @abstractmethod
    def crop(
        self, sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
    ) -> Sample:
        """A random view of a sample to train on, with what this task learns of it.

        Args:
            sample: of any size, labelled or not.
            config: the recipe.
            rng: what is random.
            wanted: train id of a class that the view should show; of tasks with labelled pixels.

        Returns:
            A sample with an image (h, w, 3) of at most `config.crop`; annotations of other tasks are dropped.
        """

    @abstractmethod
    def collate(self, samples: Sequence[Sample], size: tuple[int, int]) -> HostLabels | None:
        """The labels of a batch of crops, on the host; None where there are none to learn from.

        Args:
            samples: B crops.
            size: height and width of the batch; smaller crops lie at the top left.

        Returns:
            What becomes `Batch.labels` by its `to(device)`, e.g. a tensor `(B,)` of train ids; of bytes it becomes
            int64.
        """

    # --- model and losses

    def build(self, backbone: PreTrainedModel, head: HeadOptions, num_labels: int, seed: int) -> PreTrainedModel:
        """A model around a loaded backbone; its head starts from `seed`, whatever came before.

        Args:
            backbone: pretrained; `backbone_of` finds it in the model, or with eomt a copy of it.
            head: the options of one of `heads`.
            num_labels: K.
            seed: of the head.

        Raises:
            ModelError: there is no such head, or it cannot be built as asked, or not on this backbone.
        """
        if not self.heads.knows(head.name):
            raise ModelError(f"head.name for {self.name}: {unknown('head', head.name, self.heads.shipped)}")
        row = self.heads.resolve(head.name)
        with torch.random.fork_rng(devices=[]):
            return row.on(backbone, num_labels, head, seed)

    def set_progress(self, model: nn.Module, share: float) -> None:  # noqa: B027
        """Tell a model how much of its training is done, 0 to 1, for heads that learn otherwise as it goes on."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, weights: Tensor | None = None) -> dict[str, Tensor]:
        """The terms of the loss on a batch, by name; their sum is the loss.

        Args:
            model: in training mode or not, wrapped for several processes or not.
            batch: images, and labels as `collate` gives them.
            weights: of what is labelled, 0 to 1, as pseudo-labels of this task have them; None: all 1.
        """

    def counts(self, model: nn.Module, labels: Any) -> Counts:
        """What `loss` on a batch is taken over; no tensor of a device is read. By default, a mean over its images.

        Args:
            model: bare.
            labels: of the batch, as `collate` gives them, on the host; None: unlabelled.
        """
        return Counts(0 if labels is None else len(labels))

    def trial(self, crop: tuple[int, int], device: torch.device | str, channels: int = 3) -> Batch:
        """Two black images `(2, C, h, w)` with labels of class 0, for a look at the graph of the loss.

        Two, because a group norm refuses a single value per group, which the coarsest level of a small image may be.
        """
        height, width = crop
        sample = Sample(
            np.zeros((height, width, 3), np.uint8),
            domain="",
            key="",
            labels=np.zeros(crop, np.uint8),
            boxes=np.array([[0, 0, width, height]], np.float32),
            box_classes=np.zeros(1, np.int64),
            crowd=np.zeros(1, np.bool),
            category=0,
        )
        labels = self.collate([sample] * 2, crop)
        return Batch(torch.zeros(2, channels, *crop, device=device), on_device(labels, device), [""] * 2, [""] * 2)

    # --- a target without labels

    self_training: ClassVar[type[SelfTrainingOptions] | None] = None
    """What can be set of self-training; None: the task has no pseudo-labels, and the regime is refused."""

    def pseudo_labeller(self, options: Any, classes: int, colours: Colours) -> PseudoLabeller:
        """What makes pseudo-labels for a student, and the views of target images that it learns them of.

        Args:
            options: an instance of `self_training`.
            classes: K.
            colours: of the target's images.

        Raises:
            ConfigError: this task has none.
        """
        raise self._lacks("pseudo_labeller")

    def probabilities(self, model: nn.Module, pixel_values: Tensor) -> Tensor:
        """Class probabilities `(B, K, H, W)` of training crops `(B, 3, H, W)`, in one pass.

        Raises:
            ConfigError: this task has none.
        """
        raise self._lacks("probabilities")

    def loss_and_probabilities(
        self, model: nn.Module, batch: Batch, weights: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """As `loss`, with a call that gives the class probabilities `(B, K, ...)` of the same pass, detached.

        By default there are none, for tasks whose views compare no classes.
        """

        def none() -> Tensor:
            raise self._lacks("loss_and_probabilities")

        return self.loss(model, batch, weights), none

    @classmethod
    def offers(cls, optional: str) -> bool:
        """Whether this task has an optional method of the contract, e.g. `probabilities`."""
        return getattr(cls, optional) is not getattr(Task, optional)

    def _lacks(self, optional: str) -> ConfigError:
        return ConfigError(f"task {self.name} has no {optional}, which the regime asks for; choose another regime")

    # --- prediction

    prediction_type: ClassVar[type[Prediction]]

    @abstractmethod
    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Any:
        """The output of a model for a normalised image `(1, 3, H, W)` under a test protocol, in the task's own form.

        The arguments are those of `start`.
        """

    @abstractmethod
    def start(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> list[Any]:
        """Begin to predict normalised images `(B, 3, H, W)`, without waiting for the device.

        Args:
            model: in evaluation mode.
            pixel_values: images of one size: `protocol.input_size`, where it has one.
            protocol: how they are looked at.
            window_batch: the most windows in a pass.

        Returns:
            What `finish` makes a prediction of, for each image.
        """

    @abstractmethod
    def finish(self, started: Any, image: np.ndarray, space: LabelSpace) -> Prediction:
        """The prediction of one image `(H, W, 3)` uint8; waits for the device, and may do so in another thread."""

    @abstractmethod
    def prediction(self, output: Any, image: np.ndarray, space: LabelSpace, probabilities: bool = False) -> Prediction:
        """What `predict` gave of an image `(H, W, 3)` uint8, as something to look at and to keep.

        Args:
            output: of `predict`.
            image: what was looked at.
            space: the classes.
            probabilities: keep those of all classes as well.

        Raises:
            ConfigError: the task has no probabilities of all classes.
        """

    # --- data check

    counted: ClassVar[Counted] = IMAGES

    def record(self, sample: Sample, classes: int) -> Record:
        """What the labels of a sample are like, for the data check and the statistics of classes.

        Args:
            sample: as read.
            classes: K.
        """
        return Record(sample.key, (sample.image.shape[1], sample.image.shape[0]))

    def draw_labels(self, sample: Sample, image: np.ndarray, space: LabelSpace) -> np.ndarray | None:
        """The labels of a sample on its image, `(h, w, 3)` uint8, smaller than the sample's; None: there are none."""
        return None

    def label_text(self, sample: Sample, space: LabelSpace) -> str:
        """The labels of a sample in words, where they are no picture; empty: there are none."""
        return ""

    # --- evaluation

    def metric(self, name: str) -> Metric:
        """One of `metrics`, or anyone's own.

        Raises:
            ConfigError: there is none of this name.
            OutsideError: an outside one cannot be imported, or is none.
        """
        expected = "a minorkey.tasks.metric.Metric"
        return Catalog("metric", self.metrics, expected, lambda part: isinstance(part, Metric)).resolve(name)

    def protocol(self, config: "RunConfig") -> dict[str, Any]:
        """The fields of the test protocol that are this task's own; what else it sets goes into `settings`.

        Args:
            config: `check` has passed it.
        """
        return {}

    # --- export

    def exported(self, model: PreTrainedModel) -> Exported:
        """How others load a trained model and read its outputs.

        Raises:
            ConfigError: this task's models are not exported.
        """
        raise ConfigError(f"models of task {self.name} are not exported; override `Task.exported` to say how")

    def deployed(self, model: PreTrainedModel, protocol: Protocol, scale: Scale) -> Deployed:
        """What of a trained model goes into one graph for another library.

        Args:
            model: in evaluation mode.
            protocol: how it is looked at.
            scale: of scores of pixels.

        Raises:
            ConfigError: this task's models are not deployed, or have no other scale.
        """
        raise ConfigError(f"models of task {self.name} are not deployed; override `Task.deployed` to say how")

    def from_deployed(self, outputs: Outputs, canvas: Size, size: Size) -> ModelOutput:
        """What `predict` and `start` read of a model, from the outputs of its graph.

        Args:
            outputs: by name, as `deployed` lists them.
            canvas: height and width of what the network saw.
            size: height and width of the images, which lay at its top left.
        """
        raise ConfigError(f"models of task {self.name} are not deployed; override `Task.from_deployed` to say how")

    # --- pages

    pictured: ClassVar[bool] = False  # pseudo-labels are label images, and pictures of a few are kept (`Snapshots`)

    def keep(self, sample: Sample, prediction: Any, folder: Path) -> None:
        """Write what the page shows of an evaluated image, `image.png` among it.

        Raises:
            StorageError: a file cannot be written.
        """
        save_png(Image.fromarray(sample.picture), folder / "image.png")
        save_png(prediction.draw(), folder / "prediction.png")

    def scene(self, kept: Kept, space: LabelSpace) -> Any:
        """An evaluated image beside what each run predicted: a `gallery.Scene`, or what has its `html`.

        Raises:
            DataError: what was kept cannot be read.
        """
        return plain_scene(kept)

    def classes_shown(self, folders: Sequence[Path], space: LabelSpace) -> set[int]:
        """Train ids whose colours the scenes show, from what `keep` wrote into these folders."""
        return set()

    def gallery_words(self) -> GalleryWords:
        """What stands around the scenes."""
        return GalleryWords()
