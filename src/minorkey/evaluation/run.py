"""Judge a model on its domains: readers in, confusion matrices and kept pictures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from minorkey.data.readers import Reader
from minorkey.data.sample import IGNORE_INDEX, Sample
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.confusion import Matrix, confusion_matrix
from minorkey.evaluation.scores import Role
from minorkey.predictor import Predictor
from minorkey.tasks.prediction import save_png
from minorkey.training.progress import Reporter


@dataclass(frozen=True)
class Judged:
    """A domain to judge on."""

    role: Role
    reader: Reader
    images: int  # how many of its images, evenly spaced

    def indices(self) -> list[int]:
        """The images that are judged."""
        return _spread(len(self.reader), self.images)


def judge(
    predictor: Predictor, domains: Sequence[Judged], pictures: int, folder: Path, console: Console
) -> dict[str, tuple[Role, Matrix]]:
    """Confusion matrices `(N, K, K)` per domain, one per image.

    Args:
        predictor: the model and its protocol.
        domains: what to judge on; names must differ.
        pictures: images per domain whose prediction is kept below `folder`.
        folder: `<domain>/<key>/{image,truth,prediction}.png` are written here.
        console: for the progress.

    Raises:
        ConfigError: two data sets carry one domain name.
        DataError: an image or label cannot be read, or has no labels.
    """
    _check_names(domains)
    total = sum(len(domain.indices()) for domain in domains)
    confusions, done = {}, 0
    with Reporter(console, "judging", total, unit="image") as reporter:
        for domain in domains:
            indices, matrices = domain.indices(), []
            kept = {indices[i] for i in _spread(len(indices), pictures)}
            for index in indices:
                sample = domain.reader[index]
                prediction = predictor.predict_one(sample.image).labels
                matrices.append(_confusion(sample, prediction, predictor))
                if index in kept:
                    _keep(sample, prediction, folder)
                done += 1
                reporter.update(done, domain.reader.domain)
            confusions[domain.reader.domain] = (domain.role, np.stack(matrices))
    return confusions


def share_scenes(domains: Sequence[Judged]) -> bool:
    """Whether image i shows the same scene in every unseen domain, as in the built-in world."""
    keys = [[d.reader.key(i) for i in d.indices()] for d in domains if d.role == "unseen"]
    return len(keys) > 1 and all(each == keys[0] for each in keys)


def _confusion(sample: Sample, prediction: np.ndarray, predictor: Predictor) -> Matrix:
    if sample.labels is None:
        raise DataError(f"{sample.domain}/{sample.key} has no labels; only labelled images can be judged on")
    return confusion_matrix(prediction, sample.labels, len(predictor.space))


def _keep(sample: Sample, prediction: np.ndarray, folder: Path) -> None:
    truth = sample.labels if sample.labels is not None else np.full_like(prediction, IGNORE_INDEX)
    pictures: Mapping[str, np.ndarray] = {"image": sample.image, "truth": truth, "prediction": prediction}
    for name, pixels in pictures.items():
        save_png(Image.fromarray(pixels), folder / sample.domain / sample.key / f"{name}.png")


def _check_names(domains: Sequence[Judged]) -> None:
    names = [domain.reader.domain for domain in domains]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"domain '{twice[0]}' would be judged twice ({', '.join(d.reader.name for d in domains)}); "
            "give each data set its own `name` in dataset.yaml, or name it once"
        )


def _spread(length: int, count: int) -> list[int]:
    """At most `count` evenly spaced places of `length`, in order."""
    count = min(length, count)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]
