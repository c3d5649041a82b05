"""Training batches that depend on seed and step only: not on workers, processes or where training started."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from minorkey.data.plan import StepPlan
from minorkey.data.readers.reader import Reader
from minorkey.data.sample import IGNORE_INDEX, Batch, Sample
from minorkey.data.transforms import TransformConfig, to_tensor, train_transform
from minorkey.errors import ConfigError, MinorkeyError

Address = tuple[int, int]
"""(step, slot): a place in the batches of all processes."""


@dataclass(frozen=True)
class TrainingDataset(Dataset[Sample | MinorkeyError]):
    """Augmented samples by (step, slot).

    An error that a user can mend is handed out in place of the sample, because a loader would wrap what its
    workers raise in a traceback; `TrainingLoader` raises it.
    """

    readers: Sequence[Reader]
    plan: StepPlan
    config: TransformConfig

    def __getitem__(self, address: Address) -> Sample | MinorkeyError:
        """The crop at a place in the batches, or what kept it from being read."""
        step, slot = address
        dataset, index = self.plan.indices(step)[slot]
        rng = np.random.default_rng([self.plan.seed, step, slot])
        try:
            return train_transform(self.readers[dataset][index], self.config, rng)
        except MinorkeyError as error:
            return error


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
    """Samples to a `Batch`, normalised for the backbone."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, samples: Sequence[Sample | MinorkeyError]) -> Batch | MinorkeyError:
        """The batch of these samples, or the first error among them."""
        good: list[Sample] = []
        for sample in samples:
            if isinstance(sample, MinorkeyError):
                return sample
            good.append(sample)
        return Batch(
            pixel_values=torch.stack([to_tensor(sample.image, self.mean, self.std) for sample in good]),
            labels=torch.stack([_label_tensor(sample) for sample in good]),
            domains=[sample.domain for sample in good],
            keys=[sample.key for sample in good],
        )


class TrainingLoader(DataLoader[Batch]):
    """A `DataLoader` that raises the one-line errors of its workers as they are."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
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
        collate_fn=Collate(mean, std),
        worker_init_fn=_start_worker,
        # Its own, for a loader draws when it starts: from the global state, dropout would differ after a resume.
        generator=torch.Generator(),
    )


def _start_worker(worker_id: int) -> None:
    """One torch thread per worker; Ctrl-C is left to the main process, which saves before it stops."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _label_tensor(sample: Sample) -> torch.Tensor:
    if sample.labels is None:
        return torch.full(sample.image.shape[:2], IGNORE_INDEX, dtype=torch.int64)
    return torch.from_numpy(sample.labels.astype(np.int64))
