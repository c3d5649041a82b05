"""Sealed JSON: what was changed is noticed, in the file itself and in those that it answers for."""

import json

import pytest

from minorkey.errors import StorageError
from minorkey.system.sealed import read_sealed, write_sealed

VALUES = {"step": 4, "rates": [1e-05, 0.1], "nested": {"1": None}, "text": "ä"}


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "part.bin").write_bytes(b"tensors")
    write_sealed(tmp_path / "state.json", VALUES, ["part.bin"])
    return tmp_path / "state.json"


def test_gives_back_what_was_written(sealed):
    read = read_sealed(sealed)
    assert read.values == VALUES
    read.check("part.bin")


def test_keys_of_other_kinds_become_text(tmp_path):
    write_sealed(tmp_path / "a.json", {"map": {2: "b", 10: "a"}})
    assert read_sealed(tmp_path / "a.json").values == {"map": {"2": "b", "10": "a"}}


def _read(path) -> dict | str:
    """The values, or the error."""
    try:
        read = read_sealed(path)
        read.check("part.bin")
    except StorageError as error:
        return str(error)
    return read.values


def test_no_flipped_byte_gives_other_values(sealed):
    content = sealed.read_bytes()
    for place in range(len(content)):
        sealed.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        read = _read(sealed)
        if isinstance(read, str):
            assert str(sealed.parent) in read
            assert "\n" not in read
        else:  # in white space, or in the name of the seal, which is then one value too many
            assert {key: value for key, value in read.items() if key in VALUES} == VALUES


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"\xff\x00", b"[" * 100_000, b'{"#checksums": 1}'])
def test_what_is_no_object_is_one_line(sealed, content):
    sealed.write_bytes(content)
    with pytest.raises(StorageError, match="state.json") as error:
        read_sealed(sealed)
    assert "\n" not in str(error.value)


def test_edited_values_are_refused(sealed):
    values = json.loads(sealed.read_text()) | {"step": 5}
    sealed.write_text(json.dumps(values))
    with pytest.raises(StorageError, match="is damaged, or was changed by hand: its values are not those"):
        read_sealed(sealed)


@pytest.mark.parametrize("content", [b"tensorz", b"tensor", b"", None])
def test_a_file_beside_it_that_changed_is_refused(sealed, content):
    part = sealed.with_name("part.bin")
    part.unlink()
    if content is not None:
        part.write_bytes(content)
    with pytest.raises(StorageError, match="part.bin' is damaged or of another run|cannot read .*part.bin"):
        read_sealed(sealed).check("part.bin")


def test_a_file_that_is_not_listed_is_refused(sealed):
    with pytest.raises(StorageError, match="other.bin' is not of this run: 'state.json' lists part.bin"):
        read_sealed(sealed).check("other.bin")


def test_nothing_is_known_of_a_file_of_an_earlier_version(sealed):
    sealed.write_text(json.dumps(VALUES))
    read = read_sealed(sealed)
    assert (read.values, read.sha256("anything")) == (VALUES, None)
    read.check("anything")
