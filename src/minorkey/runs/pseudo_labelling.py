"""Pseudo-labels of all target images, as files: what a round of training hands on to the next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from minorkey.config import RunConfig, load_config
from minorkey.data.readers import Reader, label_folders, pseudo_label_file
from minorkey.data.readers.pseudo_labelled import seal_labels, unseal_removed
from minorkey.data.statistics import class_prior, count_images
from minorkey.errors import DataError
from minorkey.runs.load import load
from minorkey.runs.material import Material
from minorkey.system.processes import from_main, gathered_objects, is_main, process_count, process_index, together
from minorkey.system.progress import Reporter
from minorkey.system.reading import reading
from minorkey.system.reduction import sum_over_processes
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import read_sealed, write_sealed
from minorkey.system.storage import cache_folder
from minorkey.tasks.balance import BALANCES, balanced
from minorkey.tasks.predictor import Predictor

FACTORS = "balance.json"
"""File beside the labels: what the probability of each class was multiplied by."""


@dataclass(frozen=True)
class Unlabelled:
    """A target image."""

    reader: Reader
    index: int
    file: Path  # of its pseudo-labels


@dataclass(frozen=True)
class Labeller:
    """Labels the target images that fall to this process."""

    config: RunConfig  # of the round that labels
    predictor: Predictor  # its deployed weights, under the test protocol
    images: Sequence[Unlabelled]
    console: Console

    def readable(
        self, images: Sequence[Unlabelled], label: str, left_out: list[str]
    ) -> Iterator[tuple[Unlabelled, np.ndarray]]:
        """The images that can be read, with their pixels `(H, W, 3)`.

        Args:
            images: those that are looked at.
            label: of the progress.
            left_out: what is wrong with an image that cannot be read is added to it.

        Raises:
            DataError: an image cannot be read, and the configuration does not say to leave such out.
        """
        with Reporter(self.console, label, len(images), unit="image") as reporter:
            for done, image in enumerate(images, start=1):
                try:
                    pixels = image.reader[image.index].image
                except DataError as error:
                    if not self.config.training.skip_broken:
                        raise
                    left_out.append(str(error))
                else:
                    yield image, pixels
                reporter.update(done, image.reader.key(image.index))

    def factors(self, balance: str, source_counts: Tensor) -> Tensor:
        """What balances the classes over the images of all processes, `(K,)`.

        Args:
            balance: which one.
            source_counts: `(K,)`, how often the source shows each class, in any unit: it is taken in with every image.
        """
        device = self.predictor.device
        balancer = BALANCES[balance](len(source_counts)).to(device)
        source_counts, sums = source_counts.to(device), torch.zeros(2, len(source_counts), dtype=torch.float64)
        with together():
            for image, pixels in self.readable(self.images, "balance of classes", []):
                probabilities = self.predictor.in_domain(image.reader.domain).output(pixels)
                filled = torch.ones_like(probabilities[:, 0], dtype=torch.bool)
                sums += balancer.sums(probabilities, filled, source_counts).cpu().double()
        return balancer.taken(sum_over_processes(sums.to(device, torch.float32))).cpu()

    def write(self, factors: Tensor | None) -> list[str]:
        """Label the images that are not labelled yet, with the likeliest classes.

        Args:
            factors: `(K,)`, what the probability of each class is multiplied by.

        Returns:
            What is wrong with images that were left out.

        Raises:
            DataError: an image cannot be read.
            StorageError: a label image cannot be written.
        """
        left_out: list[str] = []
        missing = [image for image in self.images if not image.file.is_file()]
        for image, pixels in self.readable(missing, "pseudo-labels", left_out):
            predictor = self.predictor.in_domain(image.reader.domain)
            if factors is None:
                labels = predictor.predict_one(pixels)
            else:
                probabilities = predictor.output(pixels)
                chosen = balanced(probabilities, factors.to(probabilities))
                labels = predictor.task.prediction(chosen, pixels, predictor.space)
            labels.save(image.file)
        return left_out


def write_pseudo_labels(run: RunFolder, material: Material, out: Path, console: Console) -> None:
    """Label every target image with the weights that a round deployed, under the test protocol.

    The labels are the likeliest classes; where the regime balances them, of probabilities that a pass over all images
    before has given factors for. Processes share the images out; those that are labelled already are left as they are.
    An image that cannot be read is an error or, with `training.skip_broken`, named, and gets no labels.

    Raises:
        DataError: the round has not ended, or an image cannot be read.
        StorageError: a label image cannot be written.
    """
    assert material.targets is not None
    readers = material.targets.readers
    with together():
        config = load_config(run.config)
        predictor = load(run.path, device=config.training.device)
    folders = zip(readers, label_folders(readers, out), strict=True)
    images = [
        Unlabelled(reader, index, pseudo_label_file(folder, reader.key(index)))
        for reader, folder in folders
        for index in range(len(reader))
    ]
    labeller = Labeller(config, predictor, images[process_index() :: process_count()], console)
    balance = config.regime_class.balance(config)
    factors = None if balance is None else _factors(balance, labeller, material, out / FACTORS)
    from_main(lambda: unseal_removed(out))
    with together():
        left_out = labeller.write(factors)
    for problem in chain.from_iterable(gathered_objects(left_out)):
        console.print(f"without pseudo-labels: {problem}", highlight=False, soft_wrap=True, markup=False)
    from_main(lambda: seal_labels(out, [image.file for image in images]))


def _factors(balance: str, labeller: Labeller, material: Material, file: Path) -> Tensor:
    """Of all classes `(K,)`, from the file if they are there: a run that goes on labels as it began."""
    classes = material.space.classes
    if not from_main(file.is_file):
        prior = balance == "prior"
        counts = from_main(lambda: _source_shares(material)) if prior else np.zeros(len(classes))
        found = labeller.factors(balance, torch.from_numpy(counts).float())
        if is_main():
            write_sealed(file, dict(zip(classes, found.tolist(), strict=True)))
        return found
    return torch.tensor(from_main(lambda: _read_factors(file, classes)))


def _read_factors(file: Path, classes: Sequence[str]) -> list[float]:
    with reading(f"'{file}'", "delete it and resume again"):
        known = read_sealed(file).values
        return [float(known[name]) for name in classes]


def _source_shares(material: Material) -> np.ndarray:
    """The share of every class in what is trained on, `(K,)`."""
    sources = material.sources
    counts = (
        material.rare.counts if material.rare else count_images(sources.readers, material.space, cache=cache_folder())
    )
    return class_prior(counts, sources.weights)
