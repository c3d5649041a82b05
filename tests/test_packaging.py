"""What a wheel, a fresh clone and an import promise."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from minorkey.config import RunConfig, presets, resolve

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "src" / "minorkey"
PYPROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))


def in_fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_every_preset_is_listed() -> None:
    assert presets() == sorted(path.stem for path in (PACKAGE / "presets").iterdir())


@pytest.mark.parametrize("name", presets())
def test_preset_resolves(name: str) -> None:
    config = resolve(name)
    assert isinstance(config, RunConfig)
    assert config.unseen, "a preset says which domains are judged on"


def test_package_data_covers_every_data_file() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["minorkey"]
    covered = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files - covered == set()
    assert PACKAGE / "py.typed" in files


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = set(in_fresh_python("import minorkey, sys; print(*sys.modules)").split())
    assert "minorkey" in loaded
    assert loaded & {"torch", "transformers", "peft", "matplotlib"} == set()


@pytest.mark.thorough
def test_all_can_be_imported_without_torchvision_and_timm_and_leaves_public_names_as_they_are() -> None:
    code = """
import sys
sys.modules.update(torchvision=None, timm=None)
import inspect, pkgutil, minorkey
from importlib import import_module
for module in pkgutil.walk_packages(minorkey.__path__, "minorkey."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
print(*(name for name in minorkey.__all__ if inspect.ismodule(getattr(minorkey, name))), minorkey.report.__module__)
"""
    assert in_fresh_python(code) == "minorkey.reporting.page", "a module of that name hides the function"


def test_version_is_the_same_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    assert metadata.version("minorkey") == version
    newest = re.search(r"^## \[(.+?)\]", (REPO / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def constraints() -> dict[str, str]:
    lines = (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line) for line in lines if line[:1] != "#"]
    assert all(pins), "constraints.txt holds lines `name==version` only, without local versions or addresses"
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def test_constraints_pin_what_the_project_asks_for() -> None:
    pins = constraints()
    project = PYPROJECT["project"]
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_no_file_names_a_place_on_someones_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    place = re.compile(rb"(?<![\w.])/(?:home|root|Users)/\w")
    names = listed.stdout.decode().split("\0")[:-1]
    assert names
    assert [name for name in names if (REPO / name).is_file() and place.search((REPO / name).read_bytes())] == []
