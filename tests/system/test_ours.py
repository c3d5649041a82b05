"""Only what we wrote is replaced."""

import json

import pytest
from matplotlib.figure import Figure

from minorkey.errors import ConfigError
from minorkey.plotting.style import save_figure
from minorkey.system.ours import RECORD, claim, recorded, refuse_links, refuse_unmarked


def test_what_is_claimed_may_be_written_again(tmp_path):
    folder = tmp_path / "new" / "out"
    claim(folder, "a check", ["check.json", "figures/a.png"])
    (folder / "check.json").write_text("ours")
    before = (folder / RECORD).stat().st_mtime_ns
    claim(folder, "a check", ["check.json"])
    assert (folder / RECORD).stat().st_mtime_ns == before
    assert recorded(folder) == {"check.json": "a check", "figures/a.png": "a check"}


@pytest.mark.parametrize("kind", ["file", "folder", "dead link"])
def test_what_is_not_stays(kind, tmp_path):
    theirs = tmp_path / "check.json"
    {
        "file": theirs.touch,
        "folder": lambda: (theirs / "a").mkdir(parents=True),
        "dead link": lambda: theirs.symlink_to("nowhere"),
    }[kind]()
    with pytest.raises(ConfigError, match=r"check\.json' is there already and not part of a check that minorkey wrote"):
        claim(tmp_path, "a check", ["check.html", "check.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["check.json"]
    claim(tmp_path, "a spectrum", ["weights.csv"])  # other names may stand beside it


def test_results_of_another_kind_stay(tmp_path):
    claim(tmp_path, "a run", ["metrics.json"])
    (tmp_path / "metrics.json").write_text("of a run")
    with pytest.raises(ConfigError, match="not part of an evaluation"):
        claim(tmp_path, "an evaluation", ["metrics.json"])


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, '{"a": 1}'])
def test_a_damaged_record_claims_nothing(content, tmp_path):
    (tmp_path / RECORD).write_text(content)
    (tmp_path / "a").touch()
    with pytest.raises(ConfigError, match="choose another --out"):
        claim(tmp_path, "a check", ["a"])


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match=r"out' is a file, and a check needs a folder"):
        claim(tmp_path / "out", "a check", ["a"])


def test_figures_know_that_they_are_ours(tmp_path):
    save_figure(Figure(), tmp_path / "ours")
    refuse_unmarked([tmp_path / "ours.svg", tmp_path / "ours.png", tmp_path / "absent.png"])
    Figure().savefig(tmp_path / "theirs.png")
    for theirs in (tmp_path / "theirs.png", tmp_path):
        with pytest.raises(ConfigError, match="no page, figure or table that minorkey wrote"):
            refuse_unmarked([theirs])


def test_the_record_is_json_that_says_what_is_whose(tmp_path):
    claim(tmp_path, "a run", ["head.safetensors"])
    claim(tmp_path, "a spectrum", ["weights.csv"])
    assert json.loads((tmp_path / RECORD).read_text()) == {"head.safetensors": "a run", "weights.csv": "a spectrum"}


def test_an_empty_folder_is_nobodys(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    claim(tmp_path / "out", "a run", ["checkpoints"])


def test_links_in_a_folder_of_others_do_not_lead_out(tmp_path):
    (tmp_path / "run" / "kept").mkdir(parents=True)
    (tmp_path / "run" / "inside").symlink_to(tmp_path / "run" / "kept")
    (tmp_path / "run" / "figures").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "run")
    refuse_links(tmp_path / "linked", ["metrics.json", "inside/a.json"])
    with pytest.raises(ConfigError, match=r"figures/samples' is, or lies behind, a link out of"):
        refuse_links(tmp_path / "run", ["metrics.json", "figures/samples"])
