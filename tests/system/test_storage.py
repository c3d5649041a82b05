"""What is on disk in which order, whom it lets read, and what is left of a folder whose replacement was cut short."""

import os
from pathlib import Path

import pytest

from minorkey.system import storage
from minorkey.system.sealed import write_sealed
from minorkey.system.storage import new_folder, remove_folder, write_text


@pytest.fixture
def events(monkeypatch, tmp_path) -> list[str]:
    """What is flushed and moved, in order."""
    seen: list[str] = []
    flush, replace = os.fsync, Path.replace

    def name(path: str | Path) -> str:
        return os.path.relpath(path, tmp_path)

    def noted_flush(descriptor: int) -> None:
        seen.append(f"flush {name(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        flush(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        seen.append(f"move {name(self)} to {name(target)}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return seen


def test_a_sealed_file_is_on_disk_after_those_that_it_answers_for(tmp_path, events):
    write_text(tmp_path / "adapter" / "weights", "1")
    write_sealed(tmp_path / "training.json", {}, ["adapter/weights"])
    assert events == [
        "flush adapter/.weights.partial",
        "move adapter/.weights.partial to adapter/weights",
        "flush adapter/weights",
        "flush adapter",
        "flush .training.json.partial",
        "move .training.json.partial to training.json",
        "flush .",
    ]


def test_a_folder_is_whole_on_disk_before_it_has_its_name(tmp_path, events):
    with new_folder(tmp_path / "step") as new:
        (new / "weights").write_text("1")  # by a library that flushes nothing
        write_sealed(new / "state.json", {}, ["weights"])
    assert events[-5:] == [
        "flush .step.partial/weights",
        "flush .step.partial/state.json",
        "flush .step.partial",
        "move .step.partial to step",
        "flush .",
    ]


def test_a_folder_that_was_about_to_be_replaced_comes_back(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_text("earlier")
    (tmp_path / "adapter").rename(tmp_path / ".adapter.old")  # killed between the two moves
    with pytest.raises(ValueError, match="no more"), new_folder(tmp_path / "adapter"):
        raise ValueError("no more")
    assert (tmp_path / "adapter" / "weights").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_link_to_a_folder_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        with new_folder(tmp_path / "link") as folder:
            (folder / "weights").write_text(text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "disk" / "weights").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


def test_no_half_of_a_removed_folder_keeps_its_name(tmp_path, monkeypatch):
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "weights").write_text("1")
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)  # killed right after the move
    remove_folder(tmp_path / "step")
    assert [path.name for path in tmp_path.iterdir()] == [".step.gone"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read_and_write(tmp_path, umask, mode):
    before = os.umask(umask)
    storage._umask.cache_clear()
    try:
        write_text(tmp_path / "file", "1")
        assert os.umask(umask) == umask  # reading it has not changed it
    finally:
        os.umask(before)
        storage._umask.cache_clear()
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode
