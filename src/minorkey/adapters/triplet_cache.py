"""Singular triplets kept on disk, so that a large network is decomposed once."""

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor

from minorkey.adapters.decompose import End, Triplets, singular_triplets
from minorkey.errors import StorageError
from minorkey.storage import read_tensors, storage_errors, write_tensors

VARIABLE = "MINORKEY_CACHE"
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
    folder = folder or _folder_of_environment()
    if folder is None:
        return singular_triplets(weight, rank, which)
    path = folder / f"{_sha256(weight)[:32]}-{which}-{rank}-{ALGORITHM}.safetensors"
    stored = _read(path)
    if stored is None:
        stored = singular_triplets(weight, rank, which)
        _write(path, stored)
    return stored


def _folder_of_environment() -> Path | None:
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser() if value else None


def _sha256(*tensors: Tensor) -> str:
    """SHA-256 (hex) over the types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: Path) -> Triplets | None:
    """The triplets of a file, or None if it is missing or not as it was written."""
    try:
        tensors = read_tensors(path)
        U, S, Vh, checksum = (tensors[name] for name in ("U", "S", "Vh", "sha256"))
    except (StorageError, KeyError):
        return None
    return (U, S, Vh) if bytes(checksum.tolist()).hex() == _sha256(U, S, Vh) else None


def _write(path: Path, triplets: Triplets) -> None:
    checksum = torch.tensor(list(bytes.fromhex(_sha256(*triplets))), dtype=torch.uint8)
    # A name of its own: several processes of one training may compute the same triplets at once.
    own = path.with_name(f"{path.stem}-{uuid4().hex}.safetensors")
    write_tensors(own, dict(zip(("U", "S", "Vh", "sha256"), (*triplets, checksum), strict=True)))
    with storage_errors(path):
        own.replace(path)
