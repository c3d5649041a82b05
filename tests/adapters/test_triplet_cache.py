from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minorkey.adapters import triplet_cache
from minorkey.adapters.decompose import Triplets, singular_triplets
from minorkey.adapters.triplet_cache import cached_triplets
from minorkey.errors import AdapterError, StorageError


@pytest.fixture(autouse=True)
def _no_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINORKEY_CACHE", raising=False)


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(48, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def only_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, whatever is not in the folder is an error."""

    def refuse(*_: object) -> Triplets:
        raise AssertionError("decomposed again")

    monkeypatch.setattr(triplet_cache, "singular_triplets", refuse)


def _assert_same_bits(given: Triplets, wanted: Triplets) -> None:
    for a, b in zip(given, wanted, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def _only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_first_call_computes_and_writes(weight: Tensor, tmp_path: Path) -> None:
    _assert_same_bits(cached_triplets(weight, 4, folder=tmp_path / "new"), singular_triplets(weight, 4))
    assert _only_file(tmp_path / "new").suffix == ".safetensors"


def test_second_call_reads_the_same_bits(weight: Tensor, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = cached_triplets(weight, 4, folder=tmp_path)
    request.getfixturevalue("only_reading")
    _assert_same_bits(cached_triplets(weight.clone(), 4, folder=tmp_path), first)


@pytest.mark.usefixtures("only_reading")
def test_without_a_file_the_second_call_would_fail(weight: Tensor, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="decomposed again"):
        cached_triplets(weight, 4, folder=tmp_path)


def test_off_by_default(weight: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _assert_same_bits(cached_triplets(weight, 4), singular_triplets(weight, 4))
    monkeypatch.setenv("MINORKEY_CACHE", "")
    cached_triplets(weight, 4)
    assert not list(tmp_path.iterdir())


def test_environment_names_the_folder_and_the_argument_wins(
    weight: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINORKEY_CACHE", str(tmp_path / "environment"))
    cached_triplets(weight, 4)
    assert _only_file(tmp_path / "environment")
    cached_triplets(weight, 5, folder=tmp_path / "argument")
    assert _only_file(tmp_path / "argument")
    assert _only_file(tmp_path / "environment")


def test_every_part_of_the_key_counts(weight: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = weight.clone()
    changed[0, 0] += 1e-3
    halves = weight.half()
    variants = [
        (weight, 4, "minor"),
        (weight, 5, "minor"),
        (weight, 4, "major"),
        (changed, 4, "minor"),
        (halves, 4, "minor"),
        (halves.float(), 4, "minor"),
        (weight.reshape(32, 48), 4, "minor"),
        (torch.zeros(48, 32), 4, "minor"),
    ]
    for count, (matrix, rank, which) in enumerate(variants, start=1):
        _assert_same_bits(cached_triplets(matrix, rank, which, tmp_path), singular_triplets(matrix, rank, which))
        assert len(list(tmp_path.iterdir())) == count
    monkeypatch.setattr(triplet_cache, "ALGORITHM", 0)
    cached_triplets(weight, 4, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == len(variants) + 1


def test_bfloat16_weight_and_strided_view_are_hashed_by_their_values(weight: Tensor, tmp_path: Path) -> None:
    cached_triplets(weight.bfloat16(), 4, folder=tmp_path)
    cached_triplets(weight.bfloat16().T.contiguous().T, 4, folder=tmp_path)
    assert _only_file(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "one bit", "other tensors"])
def test_damaged_file_is_computed_anew_and_replaced(weight: Tensor, tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save_file

    wanted = cached_triplets(weight, 4, folder=tmp_path)
    path = _only_file(tmp_path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-20] ^= 1
    if damage == "other tensors":
        save_file({"A": torch.zeros(2)}, path)
    else:
        path.write_bytes({"empty": b"", "text": b"not tensors", "cut": whole[:-9], "one bit": bytes(flipped)}[damage])
    _assert_same_bits(cached_triplets(weight, 4, folder=tmp_path), wanted)
    assert _only_file(tmp_path).read_bytes() == whole


def test_many_at_once_leave_one_whole_file(weight: Tensor, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: cached_triplets(weight, 4, folder=tmp_path), range(16)))
    for result in results:
        _assert_same_bits(result, results[0])
    assert _only_file(tmp_path)


def test_folder_that_cannot_be_written_is_said(weight: Tensor, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot write '.*file.*safetensors': .*; check the path"):
        cached_triplets(weight, 4, folder=blocked)


def test_bad_rank_is_refused_and_nothing_is_written(weight: Tensor, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="rank 33 of a weight of shape"):
        cached_triplets(weight, 33, folder=tmp_path)
    assert not list(tmp_path.iterdir())
