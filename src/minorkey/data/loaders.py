"""Training batches that depend on seed and step only: not on workers, processes or where training started."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from minorkey.data.photometric import Distortion, draw_distortion
from minorkey.data.plan import StepPlan
from minorkey.data.readers.reader import Reader
from minorkey.data.sample import IGNORE_INDEX, RawBatch, Sample
from minorkey.data.transforms import TransformConfig, train_transform
from minorkey.errors import ConfigError, MinorkeyError

Address = tuple[int, int]
"""(step, slot): a place in the batches of all processes."""


@dataclass(frozen=True)
class Crop:
    """A crop, and what will be done to its colours."""

    sample: Sample
    distortion: Distortion | None


@dataclass(frozen=True)
class TrainingDataset(Dataset[Crop | MinorkeyError]):
    """Crops by (step, slot).

    An error that a user can mend is handed out in place of the crop, because a loader would wrap what its
    workers raise in a traceback; `TrainingLoader` raises it.
    """

    readers: Sequence[Reader]
    plan: StepPlan
    config: TransformConfig

    def __getitem__(self, address: Address) -> Crop | MinorkeyError:
        """The crop at a place in the batches, or what kept it from being read."""
        step, slot = address
        dataset, index = self.plan.indices(step)[slot]
        rng = np.random.default_rng([self.plan.seed, step, slot])
        photometric = self.config.photometric
        try:
            sample = train_transform(self.readers[dataset][index], self.config, rng)
        except MinorkeyError as error:
            return error
        return Crop(sample, None if photometric is None else draw_distortion(photometric, rng))


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
        distortions = [crop.distortion for crop in good if crop.distortion is not None]
        return RawBatch(
            images=_stack([sample.image for sample in samples], (*self.size, 3), fill=0),
            labels=_stack([sample.labels for sample in samples], self.size, fill=IGNORE_INDEX),
            sizes=torch.tensor([sample.image.shape[:2] for sample in samples]),
            distortions=torch.tensor(distortions) if distortions else None,
            mean=self.mean,
            std=self.std,
            domains=[sample.domain for sample in samples],
            keys=[sample.key for sample in samples],
        )


class TrainingLoader(DataLoader[RawBatch]):
    """A `DataLoader` that raises the one-line errors of its workers as they are."""

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
    workers: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> TrainingLoader:
    """The training batches of steps `steps_from` to before `steps_to`.

    Args:
        readers: the source data sets.
        config: the augmentation.
        batch_size: samples per step over all processes.
        steps_from: first step, 0 at the start of training and the step of the checkpoint on resuming.
        steps_to: the step to stop before.
        seed: of order and augmentation.
        mean: of the normalisation, per channel, in [0, 1].
        std: of the normalisation, per channel, in [0, 1].
        weights: share of each data set in the batches; by its length where absent.
        workers: processes that read and augment; each runs one torch thread.
        process_index: place of this process among those that train together.
        process_count: how many processes train together.

    Raises:
        ConfigError: the batch cannot be split evenly over the processes.
    """
    if batch_size < 1 or batch_size % process_count:
        raise ConfigError(f"batch size {batch_size} cannot be split over {process_count} processes: use a multiple")
    plan = StepPlan(
        tuple(len(reader) for reader in readers),
        batch_size,
        seed,
        None if weights is None else tuple(weights),
    )
    share = batch_size // process_count
    return TrainingLoader(
        TrainingDataset(readers, plan, config),  # type: ignore[arg-type]
        batch_sampler=StepSampler(steps_from, steps_to, range(share * process_index, share * (process_index + 1))),
        num_workers=workers,
        collate_fn=Collate(config.crop, mean, std),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=start_worker,
        # Its own, for a loader draws when it starts: from the global state, dropout would differ after a resume.
        generator=torch.Generator(),
    )


def start_worker(worker_id: int) -> None:
    """One torch thread per worker; Ctrl-C is left to the main process, which saves before it stops."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stack(arrays: Sequence[np.ndarray | None], shape: tuple[int, ...], fill: int) -> torch.Tensor:
    """`(B, *shape)` uint8: every array at the top left of a canvas of `fill`."""
    canvas = np.full((len(arrays), *shape), fill, np.uint8)
    for place, array in zip(canvas, arrays, strict=True):
        if array is not None:
            place[: array.shape[0], : array.shape[1]] = array
    return torch.from_numpy(canvas)
