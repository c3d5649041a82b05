import pickle
import tarfile
import threading
import zipfile

import pytest
from published import write_loose, write_tar, write_zip

from minorkey.data.readers.archives import list_members
from minorkey.data.readers.files import Files
from minorkey.errors import DataError

CONTENT = {"a/1.txt": b"one" * 100, "a/b/2.txt": b"two" * 100, "c/3.txt": b"", "top.txt": b"top"}


def read_all(files: Files, folder: str = "") -> dict[str, bytes]:
    return {name: files.read(address) for name, address in files.names(folder).items()}


@pytest.mark.parametrize("write", [write_loose, write_zip, write_tar])
def test_one_name_space(write, tmp_path):
    place = {write_loose: "", write_zip: "x.zip", write_tar: "x.TAR"}[write]
    write(CONTENT, tmp_path / "root" / place)
    files = Files(tmp_path / "root")
    inner = {name: content for name, content in read_all(files).items() if not name.lower().endswith((".zip", ".tar"))}
    assert inner == CONTENT
    assert read_all(files, "a") == {name: CONTENT[name] for name in ("a/1.txt", "a/b/2.txt")}
    assert read_all(files, "a/b") == read_all(files, "*/b") == {"a/b/2.txt": CONTENT["a/b/2.txt"]}
    assert read_all(files, "b") == {"b/2.txt": CONTENT["a/b/2.txt"]}
    assert read_all(files, "nowhere") == {}
    assert read_all(pickle.loads(pickle.dumps(files)), "a") == read_all(files, "a")


def test_loose_files_hide_those_of_archives(tmp_path):
    write_zip(CONTENT, tmp_path / "x.zip")
    write_loose({"a/1.txt": b"newer"}, tmp_path)
    assert read_all(Files(tmp_path), "a") == {"a/1.txt": b"newer", "a/b/2.txt": CONTENT["a/b/2.txt"]}


def test_litter_is_not_listed(tmp_path):
    write_zip({"__MACOSX/a/._1.txt": b"", "a/._1.txt": b"", "a/.cache/1.txt": b"", "a/1.txt": b"x"}, tmp_path / "x.zip")
    write_loose({"a/.ipynb_checkpoints/2.txt": b"", "a/.3.txt": b""}, tmp_path)
    assert list(Files(tmp_path).names("a")) == ["a/1.txt"]


def test_links_are_followed(tmp_path):
    write_loose(CONTENT, tmp_path / "far")
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "b").symlink_to(tmp_path / "far" / "a" / "b")
    assert list(Files(tmp_path / "root").names("a")) == ["a/b/2.txt"]


def test_names_that_climb_out_are_never_written(tmp_path):
    write_zip({"../../evil.txt": b"evil", "/abs.txt": b"evil", "a/1.txt": b"good"}, tmp_path / "root" / "x.zip")
    assert read_all(Files(tmp_path / "root"), "a") == {"a/1.txt": b"good"}
    assert {path.name for path in tmp_path.rglob("*")} == {"root", "x.zip"}


def test_many_threads_read_at_once(tmp_path):
    content = {f"{i:03d}": bytes([i]) * 5000 for i in range(64)}
    write_zip(content, tmp_path / "x.zip")
    write_tar({f"t{name}": data for name, data in content.items()}, tmp_path / "y.tar")
    files, wrong = Files(tmp_path), []
    names = [f"x.zip/{name}" for name in content] + [f"y.tar/t{name}" for name in content]

    def read(order: list[str]) -> None:
        wrong.extend(name for name in order if files.read(name) != content[name[-3:]])

    threads = [threading.Thread(target=read, args=(names[i:] + names[:i],)) for i in range(0, 64, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_replaced_archive_is_listed_anew(tmp_path):
    write_zip({"a": b"1"}, tmp_path / "x.zip")
    assert list(list_members(tmp_path / "x.zip")) == ["a"]
    write_zip({"a": b"1", "b": b"2"}, tmp_path / "x.zip")
    assert list(list_members(tmp_path / "x.zip")) == ["a", "b"]


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_broken_archives(name, tmp_path):
    (write_zip if name == "x.zip" else write_tar)({"a": b"1" * 5000, "b": b"2" * 50000}, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-20000])
    with pytest.raises(DataError, match=rf"{name}: broken archive \(.*\); download it again") as caught:
        Files(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises(DataError, match=rf"{name}: broken archive"):
        Files(tmp_path)


@pytest.mark.parametrize("change", [{6: 99}, {9: 0x08, 46: 0xFC}], ids=["a later version", "a name that is no UTF-8"])
def test_a_directory_of_an_archive_that_cannot_be_read(change, tmp_path):
    write_zip({"a": b"1"}, tmp_path / "x.zip")
    whole = bytearray((tmp_path / "x.zip").read_bytes())
    directory = whole.index(b"PK\1\2")
    for place, value in change.items():
        whole[directory + place] = value
    (tmp_path / "x.zip").write_bytes(whole)
    with pytest.raises(DataError, match=r"x\.zip: broken archive"):
        Files(tmp_path)


def test_damaged_content_is_noticed(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"1" * 100)
        archive.writestr("b", b"2" * 100, zipfile.ZIP_DEFLATED)
    whole = bytearray((tmp_path / "x.zip").read_bytes())
    files = Files(tmp_path)
    whole[whole.index(b"1" * 100)] = 0
    (tmp_path / "x.zip").write_bytes(whole)
    with pytest.raises(DataError, match=r"x\.zip: broken archive \(checksum of x\.zip/a is wrong\)"):
        files.read("x.zip/a")
    (tmp_path / "x.zip").write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match=r"broken archive \(no file at the place of x\.zip/b\)"):
        files.read("x.zip/b")
    (tmp_path / "x.zip").unlink()
    with pytest.raises(DataError, match=r"broken archive \(x\.zip/b: .*No such file"):
        files.read("x.zip/b")


def test_what_cannot_be_read_in_place(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", b"1" * 100)
    with pytest.raises(DataError, match=r"x\.zip/a in .*x\.zip is packed by method 14; use deflate, or unpack it"):
        Files(tmp_path).read("x.zip/a")
    with tarfile.open(tmp_path / "y.tar.gz", "w:gz"):
        pass
    (tmp_path / "z.7z").touch()
    assert Files(tmp_path).packed == ("y.tar.gz", "z.7z")


def test_encrypted_zip(tmp_path):
    write_zip({"a": b"1"}, tmp_path / "x.zip")
    whole = bytearray((tmp_path / "x.zip").read_bytes())
    whole[whole.index(b"PK\1\2") + 8] |= 1  # flag of the central directory
    (tmp_path / "x.zip").write_bytes(whole)
    with pytest.raises(DataError, match="is encrypted; unpack it with its password"):
        Files(tmp_path)


def test_missing_loose_file(tmp_path):
    with pytest.raises(DataError, match=r"a/b\.png cannot be read: No such file"):
        Files(tmp_path).read("a/b.png")
