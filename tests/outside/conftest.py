"""A package that is not ours: `mine`, in a temporary folder, imported as a user's would be."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from minorkey.system import outside

WriteModule = Callable[[str, str], Path]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Write a module: `write_module("heads", code)` is importable as `mine.heads`; nobody has named it so far."""
    folder = tmp_path / "on_the_path" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(outside, "_taken", set())
    monkeypatch.setattr(outside, "_modules", {})

    def write(name: str, code: str) -> Path:
        file = folder / f"{name}.py"
        file.write_text(dedent(code))
        importlib.invalidate_caches()
        return file

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]
