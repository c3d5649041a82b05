"""Evidence in a run folder: written once a run is judged, read where its scores are compared with those of another."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.numpy import load_file
from torch import from_numpy

from minorkey.errors import DataError, StorageError
from minorkey.system.reading import reading
from minorkey.system.run_folder import RunFolder
from minorkey.system.sealed import files_below, read_sealed, write_sealed
from minorkey.system.storage import check_file, write_tensors
from minorkey.tasks.evidence import Evidence
from minorkey.tasks.protocol import Protocol

AGAIN = "run `minorkey evaluate` again"


def write_evidence(folder: RunFolder, protocol: Protocol, evidence: Mapping[str, Evidence]) -> None:
    """Write the evidence of every domain, by its name.

    Raises:
        StorageError: it cannot be written.
    """
    tensors = {key: values for domain, kept in evidence.items() for key, values in kept.stored(domain).items()}
    write_tensors(evidence_file(folder, protocol), {key: from_numpy(values) for key, values in tensors.items()})


def read_evidence(folder: RunFolder, protocol: Protocol, num_classes: int) -> dict[str, Evidence] | None:
    """The evidence of every domain, of all classes; None where none was written.

    Args:
        folder: of the run.
        protocol: that of its scores.
        num_classes: in the label space.

    Raises:
        DataError: the file is damaged.
    """
    path = evidence_file(folder, protocol)
    if not path.is_file():
        return None
    with _evaluated_again(path):
        _check(folder, path)
        return dict(protocol.scored.evaluator(num_classes, protocol).restored(load_file(path)))


def write_places(folder: RunFolder, places: Mapping[str, Mapping[str, int]]) -> None:
    """Write which images of the evidence have pictures: by domain, the key of an image and its place, 0 first.

    The pictures are there already, and this answers for them.

    Raises:
        StorageError: it cannot be written.
    """
    write_sealed(folder.places, places, files_below(folder.samples, folder.places.parent), ordered=False)


def read_places(folder: RunFolder) -> dict[tuple[str, str], int]:
    """The place in the evidence of each image that has pictures, by domain and key; empty where none was written.

    Raises:
        DataError: the file, or a picture, is damaged.
    """
    if not folder.places.is_file():
        return {}
    with _evaluated_again(folder.places):
        _check(folder, folder.places)
        sealed = read_sealed(folder.places)
        sealed.check_present()
        stored = sealed.values
        return {(domain, key): int(place) for domain, keys in stored.items() for key, place in keys.items()}


@contextmanager
def _evaluated_again(path: Path) -> Iterator[None]:
    """What is wrong with a file is one line that says how to have it anew."""
    try:
        with reading(path, AGAIN):
            yield
    except StorageError as error:
        raise DataError(f"{error}; or {AGAIN}") from error


def _check(folder: RunFolder, path: Path) -> None:
    """Hold a file against the scores that were written after it."""
    if folder.metrics.is_file():
        check_file(path, read_sealed(folder.metrics).sha256(path.relative_to(folder.path).as_posix()))


def evidence_file(folder: RunFolder, protocol: Protocol) -> Path:
    """Where the evidence of a protocol's metric is."""
    return folder.path / protocol.scored.evidence_file
