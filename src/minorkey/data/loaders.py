"""Training batches that depend on seed and step only: not on workers, processes or where training started."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from minorkey.data.photometric import Distortion, draw_distortion
from minorkey.data.pixels import of_one_kind
from minorkey.data.plan import Plan, StepPlan
from minorkey.data.rare_classes import RareClasses, RareClassPlan
from minorkey.data.readers.reader import Reader
from minorkey.data.sample import HostLabels, RawBatch, Sample
from minorkey.data.transforms import TransformConfig, transform_own
from minorkey.data.workers import start_worker
from minorkey.errors import ConfigError, DataError, MinorkeyError
from minorkey.system.outside import note_cause, outside_faults

Address = tuple[int, int]
"""(step, slot): a place in the batches of all processes."""

SKIP_TRIES = 10
"""Images in a row that may be broken, where broken ones are skipped."""


class TrainingTask(Protocol):
    """What is learnt of images, as far as their loading goes: a task (`tasks.base.Task`)."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def annotation(self) -> str:
        """What its images are labelled with."""

    def crop(
        self, sample: Sample, config: TransformConfig, rng: np.random.Generator, wanted: int | None = None
    ) -> Sample:
        """A random view of a sample, which should show the class `wanted`, if any."""

    def collate(self, samples: Sequence[Sample], size: tuple[int, int]) -> HostLabels | None:
        """The labels of a batch of such views."""


@dataclass(frozen=True)
class Crop:
    """A crop, and what will be done to its colours."""

    sample: Sample
    distortion: Distortion | None
    problems: list[str] = field(default_factory=list)  # images in whose place this one was read, a line each


@dataclass(frozen=True)
class TrainingDataset(Dataset[Crop | MinorkeyError]):
    """Crops by (step, slot).

    An error that a user can mend is handed out in place of the crop, because a loader would wrap what its
    workers raise in a traceback; `TrainingLoader` raises it.
    """

    task: TrainingTask
    readers: Sequence[Reader]
    plan: Plan
    config: TransformConfig
    skip_broken: bool = False  # read the next image in place of one that cannot be read, and say so
    accumulate: int = 1  # batches that make one update, whose images are augmented alike however they are split

    def __getitem__(self, address: Address) -> Crop | MinorkeyError:
        """The crop at a place in the batches, or what kept it from being read."""
        step, slot = address
        batch = self.plan.indices(step)
        dataset, index = batch[slot]
        rng = np.random.default_rng(
            [self.plan.seed, *divmod(step * len(batch) + slot, len(batch) * self.accumulate)],
        )
        photometric, wanted = self.config.photometric, self.plan.wanted_class(step, slot)
        try:
            sample, problems = self._read(self.readers[dataset], index)
            with outside_faults():
                sample = self.task.crop(sample, self.config, rng, wanted)
            sample = transform_own(sample, self.config, rng)
        except MinorkeyError as error:
            if get_worker_info() is not None:
                note_cause(error)
            return error
        return Crop(sample, None if photometric is None else draw_distortion(photometric, rng), problems)

    def keys(self, step: int) -> list[str]:
        """The images of a step's batch over all processes, as `domain/key`."""
        places = [(self.readers[dataset], index) for dataset, index in self.plan.indices(step)]
        return [f"{reader.domain}/{reader.key(index)}" for reader, index in places]

    def _read(self, reader: Reader, index: int) -> tuple[Sample, list[str]]:
        """The sample with this index or, where broken ones are skipped, the next that can be read, and why."""
        if not self.skip_broken:
            return reader[index], []
        errors: list[DataError] = []
        for place in range(index, index + min(SKIP_TRIES, len(reader))):
            try:
                sample = reader[place % len(reader)]
            except DataError as error:
                errors.append(error)
            else:
                return sample, [f"{error}; '{sample.key}' was read in its place" for error in errors]
        raise DataError(f"{reader.name}: {len(errors)} images in a row cannot be read; the first: {errors[0]}")


@dataclass(frozen=True)
class StepSampler(Sampler[list[Address]]):
    """The addresses of one process: its slots of every step from `start` to before `stop`."""

    start: int
    stop: int
    slots: range

    def __iter__(self) -> Iterator[list[Address]]:
        """The addresses of one step after the other."""
        return ([(step, slot) for slot in self.slots] for step in range(self.start, self.stop))

    def __len__(self) -> int:
        """Number of steps."""
        return self.stop - self.start


@dataclass(frozen=True)
class Collate:
    """Crops to a `RawBatch`, with what its images will be normalised by."""

    task: TrainingTask
    size: tuple[int, int]  # height, width; smaller crops are padded at the right and the bottom
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, crops: Sequence[Crop | MinorkeyError]) -> RawBatch | MinorkeyError:
        """The batch of these crops, or the first error among them."""
        good: list[Crop] = []
        for crop in crops:
            if isinstance(crop, MinorkeyError):
                return crop
            good.append(crop)
        samples = [crop.sample for crop in good]
        for sample in samples:
            if sample.image.shape[2] != len(self.mean):
                found, wanted = sample.image.shape[2], len(self.mean)
                return DataError(f"{sample.domain}/{sample.key} has {found} channels, the network takes {wanted}")
        distortions = [crop.distortion for crop in good if crop.distortion is not None]
        return RawBatch(
            images=stack_images([sample.image for sample in samples], self.size),
            labels=self.task.collate(samples, self.size),
            sizes=torch.tensor([sample.image.shape[:2] for sample in samples]),
            distortions=torch.tensor(distortions) if distortions else None,
            mean=self.mean,
            std=self.std,
            domains=[sample.domain for sample in samples],
            keys=[sample.key for sample in samples],
            problems=[problem for crop in good for problem in crop.problems],
        )


class TrainingLoader(DataLoader[RawBatch]):
    """A `DataLoader` that raises the one-line errors of its workers as they are."""

    dataset: TrainingDataset  # type: ignore[assignment]

    def keys(self, step: int) -> list[str]:
        """The images that make up the batch of a step (0 first) over all processes, as `domain/key`.

        They are those that were drawn, also where one of them could not be read and was skipped.
        """
        return self.dataset.keys(step)

    def __iter__(self) -> Iterator[RawBatch]:  # type: ignore[override]
        """One batch per step.

        Raises:
            DataError: an image or label file of the batch is missing, unreadable or inconsistent.
        """
        for batch in super().__iter__():
            if isinstance(batch, MinorkeyError):
                raise batch
            yield batch


def training_loader(
    task: TrainingTask,
    readers: Sequence[Reader],
    config: TransformConfig,
    *,
    batch_size: int,
    steps_from: int,
    steps_to: int,
    seed: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    weights: Sequence[float] | None = None,
    rare: RareClasses | None = None,
    skip_broken: bool = False,
    accumulate: int = 1,
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> TrainingLoader:
    """The training batches of steps `steps_from` to before `steps_to`.

    Args:
        task: what is learnt of them.
        readers: the source data sets.
        config: the augmentation.
        batch_size: samples per step over all processes.
        steps_from: first step, 0 at the start of training and the step of the checkpoint on resuming.
        steps_to: the step to stop before.
        seed: of order and augmentation.
        mean: of the normalisation, per channel, in [0, 1].
        std: of the normalisation, per channel, in [0, 1].
        weights: share of each data set in the batches; by its length where absent.
        rare: draw images for the sake of their rare classes; None: every image has its turn.
        skip_broken: an image that cannot be read is replaced by the next one of its data set that can, and
            `RawBatch.problems` has a line about it; otherwise it is an error.
        accumulate: steps whose gradients make one update; the augmentation is that of one batch of all their images.
        workers: processes that read and augment; each runs one torch thread.
        process_index: place of this process among those that train together.
        process_count: how many processes train together.

    Raises:
        ConfigError: the batch cannot be split evenly over the processes, weights do not fit the data sets, or rare
            classes are to be drawn where no pixels are labelled.
        DataError: rare classes are to be drawn, and no image has labels.
    """
    if batch_size < 1 or batch_size % process_count:
        raise ConfigError(f"batch size {batch_size} cannot be split over {process_count} processes: use a multiple")
    if rare is not None and task.annotation != "pixels":
        raise ConfigError(f"rare-class sampling counts labelled pixels, which {task.name} has none of; switch it off")
    shares = None if weights is None else tuple(weights)
    plan: Plan
    if rare is None:
        plan = StepPlan(tuple(len(reader) for reader in readers), batch_size, seed, shares)
    else:
        plan = RareClassPlan(rare, batch_size, seed, shares)
    share = batch_size // process_count
    return TrainingLoader(
        TrainingDataset(task, readers, plan, config, skip_broken, accumulate),  # type: ignore[arg-type]
        batch_sampler=StepSampler(steps_from, steps_to, range(share * process_index, share * (process_index + 1))),
        num_workers=workers,
        collate_fn=Collate(task, config.crop, mean, std),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=start_worker,
        # Its own, for a loader draws when it starts: from the global state, dropout would differ after a resume.
        generator=torch.Generator(),
    )


def stack_images(images: Sequence[np.ndarray], size: tuple[int, int]) -> torch.Tensor:
    """`(B, *size, C)`: every image at the top left of a black canvas; bytes where all are, else float32 in [0, 1]."""
    alike = of_one_kind(images)
    return stack(alike, (*size, alike[0].shape[2]), fill=0, kind=alike[0].dtype)


def stack(
    arrays: Sequence[np.ndarray | None], shape: tuple[int, ...], fill: int, kind: np.dtype | type = np.uint8
) -> torch.Tensor:
    """`(B, *shape)` of a type, bytes unless said: every array at the top left of a canvas of `fill`."""
    canvas = np.full((len(arrays), *shape), fill, kind)
    for place, array in zip(canvas, arrays, strict=True):
        if array is not None:
            place[: array.shape[0], : array.shape[1]] = array
    return torch.from_numpy(canvas)
