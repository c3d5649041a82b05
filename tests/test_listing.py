"""What there is to choose from, and the settings of a preset, on the command line."""

import re

import pytest
from typer.testing import CliRunner

from minorkey.cli import app
from minorkey.cli.listing import Kind
from minorkey.config import presets, resolve


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", Kind)
def test_a_list_names_and_describes_its_parts(kind):
    lines = printed("list", kind.value).splitlines()
    assert len(lines) >= 3
    assert all(re.match(r"\S+ {2,}\S", line) or line.startswith("  ") for line in lines)


def test_what_is_listed_is_what_is_known():
    names = [line.split()[0] for line in printed("list", "presets").splitlines() if not line.startswith(" ")]
    assert names == presets()
    assert re.search(r"^soma  .*minor singular components", printed("list", "methods"), re.MULTILINE)
    assert re.search(r"^atss +detection *$", printed("list", "heads"), re.MULTILINE)


@pytest.mark.parametrize("preset", ["demo", "gta_to_cbm", "world_weather", "pacs", "world_night"])
def test_the_settings_of_a_preset_are_the_file_that_makes_them(preset, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(printed("config", preset, "seed=3"))
    assert resolve(file) == resolve(preset, {"seed": 3})
    assert "# optimizer steps" in file.read_text()


def test_an_unknown_preset_is_a_close_one(capsys):
    result = CliRunner().invoke(app, ["config", "demos"])
    assert "did you mean 'demo'" in str(result.exception)
