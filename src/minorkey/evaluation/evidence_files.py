"""Evidence in a run folder: written once a run is judged, read where its scores are compared with those of another."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.numpy import load_file
from torch import from_numpy

from minorkey.system.reading import json_of, reading
from minorkey.system.regular import regular_bytes
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_json, write_tensors
from minorkey.tasks.evidence import Evidence
from minorkey.tasks.protocol import Protocol

AGAIN = "run `minorkey evaluate` again"


def write_evidence(folder: RunFolder, protocol: Protocol, evidence: Mapping[str, Evidence]) -> None:
    """Write the evidence of every domain, by its name.

    Raises:
        StorageError: it cannot be written.
    """
    tensors = {key: values for domain, kept in evidence.items() for key, values in kept.stored(domain).items()}
    write_tensors(_file(folder, protocol), {key: from_numpy(values) for key, values in tensors.items()})


def read_evidence(folder: RunFolder, protocol: Protocol, num_classes: int) -> dict[str, Evidence] | None:
    """The evidence of every domain, of all classes; None where none was written.

    Args:
        folder: of the run.
        protocol: that of its scores.
        num_classes: in the label space.

    Raises:
        DataError: the file is damaged.
    """
    path = _file(folder, protocol)
    if not path.is_file():
        return None
    with reading(path, AGAIN):
        return dict(protocol.scored.evaluator(num_classes, protocol).restored(load_file(path)))


def write_places(folder: RunFolder, places: Mapping[str, Mapping[str, int]]) -> None:
    """Write which images of the evidence have pictures: by domain, the key of an image and its place, 0 first.

    Raises:
        StorageError: it cannot be written.
    """
    write_json(folder.places, places)


def read_places(folder: RunFolder) -> dict[tuple[str, str], int]:
    """The place in the evidence of each image that has pictures, by domain and key; empty where none was written.

    Raises:
        DataError: the file is damaged.
    """
    if not folder.places.is_file():
        return {}
    with reading(folder.places, AGAIN):
        stored = json_of(regular_bytes(folder.places))
        return {(domain, key): int(place) for domain, keys in stored.items() for key, place in keys.items()}


def _file(folder: RunFolder, protocol: Protocol) -> Path:
    return folder.path / protocol.scored.evidence_file
