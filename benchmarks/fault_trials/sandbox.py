"""The folder of one trial, with things of the user's in it that must stay as they are."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SECRET = "a secret that nothing may show"

MEASURED = ("seconds", "images_per_second", "peak_memory_mb", "memory_mb", "images_per_second_by_process")
"""What the clock and the machine say: different in every run."""

SUMMED = ("#checksums", "log_sha256", "log_size", "config_sha256", "start_from")
"""Sums of what was measured, and folders."""


class Sandbox:
    """`work` is where commands run; `mine` holds files of the user's; `outside` is nobody's business."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.work, self.outside = self.root / "work", self.root / "outside"
        self.secret = self.outside / "secret.txt"
        for folder in (self.work, self.outside):
            folder.mkdir(parents=True)
        self.secret.write_text(SECRET)
        (self.work / "notes.txt").write_text("mine\n")

    def copy(self, source: Path, name: str) -> Path:
        """A copy of a file or folder of the material in `work`."""
        target = self.work / name
        if source.is_dir():
            return Path(shutil.copytree(source, target, symlinks=True))
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(source, target))


def state(root: Path, apart_from: Iterable[Path] = ()) -> dict[str, str]:
    """The content of every file below a folder, by its path there."""
    apart, found = {str(path) for path in apart_from}, {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in apart]
        for name in [*files, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
            path = os.path.join(folder, name)
            if path not in apart:
                found[os.path.relpath(path, root)] = _digest(path)
    return found


def _digest(path: str) -> str:
    if os.path.islink(path):
        return f"-> {os.readlink(path)}"
    if not os.path.isfile(path):
        return "no file"
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Files that were changed, removed or added, in words."""
    words = [
        f"{'removed' if name not in after else 'changed'} {name}" for name in before if after.get(name) != before[name]
    ]
    return words + [f"added {name}" for name in after if name not in before]


def outcome(folder: Path) -> dict[str, Any]:
    """What a command wrote, file by file, without what was measured: equal where two runs are the same bits."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _content(path: Path) -> Any:
    try:
        if path.name == "adapter_config.json":  # PEFT writes sets, in the order of the process
            return {key: sorted(v) if isinstance(v, list) else v for key, v in json.loads(path.read_text()).items()}
        if path.suffix == ".json":
            return _unmeasured(json.loads(path.read_text()))
        if path.suffix == ".jsonl":
            return [_unmeasured(json.loads(line)) for line in path.read_text().splitlines()]
    except (ValueError, TypeError, AttributeError):
        return "no JSON"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unmeasured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unmeasured(inner) for key, inner in value.items() if key not in MEASURED + SUMMED}
    return [_unmeasured(inner) for inner in value] if isinstance(value, list) else value


def differences(expected: dict[str, Any], found: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Files that are missing or differ, and files that should not be there."""
    wrong = [name for name, content in expected.items() if found.get(name) != content]
    return wrong, [name for name in found if name not in expected]
