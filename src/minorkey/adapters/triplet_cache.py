"""Singular triplets kept on disk, so that a large network is decomposed once."""

from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor

from minorkey.adapters.decompose import End, Triplets, singular_triplets
from minorkey.adapters.fingerprint import tensors_sha256
from minorkey.errors import StorageError
from minorkey.system.storage import cache_folder, read_tensors, storage_errors, write_tensors

# Part of every key: to be raised whenever `singular_triplets` gives other bits.
ALGORITHM = 1


def cached_triplets(weight: Tensor, rank: int, which: End = "minor", folder: Path | None = None) -> Triplets:
    """`singular_triplets`, read from a folder if they were computed before, else computed and written there.

    The file's name is a hash of the weight (type, shape, values), the rank, the end of the spectrum and the
    version of the algorithm: nothing goes stale, and any network may share the folder. A damaged file is
    computed anew and replaced.

    Args:
        weight: `(out, in)`, any floating type.
        rank: number of triplets, 1 ... min(out, in).
        which: the end of the spectrum.
        folder: where the files are; None takes the environment variable MINORKEY_CACHE, and without that
            nothing is read or written.

    Returns:
        `U (out, rank)`, `S (rank,)` descending and `Vh (rank, in)`, float64 on the CPU.

    Raises:
        AdapterError: as `singular_triplets`.
        StorageError: the folder cannot be written to.
    """
    folder = folder or cache_folder()
    if folder is None:
        return singular_triplets(weight, rank, which)
    path = folder / f"{tensors_sha256({'weight': weight})[:32]}-{which}-{rank}-{ALGORITHM}.safetensors"
    stored = _read(path)
    if stored is None:
        stored = singular_triplets(weight, rank, which)
        _write(path, stored)
    return stored


def _read(path: Path) -> Triplets | None:
    """The triplets of a file, or None if it is missing or not as it was written."""
    try:
        stored = read_tensors(path)
        checksum = bytes(stored.pop("sha256").tolist()).hex()
        triplets = stored["U"], stored["S"], stored["Vh"]
    except (StorageError, KeyError):
        return None
    return triplets if checksum == tensors_sha256(stored) else None


def _write(path: Path, triplets: Triplets) -> None:
    tensors = dict(zip(("U", "S", "Vh"), triplets, strict=True))
    checksum = torch.tensor(list(bytes.fromhex(tensors_sha256(tensors))), dtype=torch.uint8)
    # A name of its own: several processes of one training may compute the same triplets at once.
    own = path.with_name(f"{path.stem}-{uuid4().hex}.safetensors")
    write_tensors(own, {**tensors, "sha256": checksum})
    with storage_errors(path):
        own.replace(path)
