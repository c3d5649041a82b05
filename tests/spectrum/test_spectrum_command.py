"""`minorkey spectrum` from end to end, on a tiny backbone and a tiny run."""

import shutil

import pytest
from rich.console import Console

from minorkey.reporting.page import build_report
from minorkey.spectrum import read_spectrum, survey
from minorkey.system.run_folder import RunFolder

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(finished_run, tmp_path_factory) -> RunFolder:
    """A copy of the finished SoMA run, surveyed."""
    folder = tmp_path_factory.mktemp("surveyed") / "soma"
    shutil.copytree(finished_run.path, folder)
    survey(folder, images=2, console=QUIET)
    return RunFolder(folder)


def test_a_backbone(backbone_folder, tmp_path, command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _ = command("spectrum", backbone_folder, "--rank", 4)
    assert code == 0
    out = tmp_path / f"spectrum-{backbone_folder.name}"
    assert sorted(path.name for path in out.iterdir()) == [
        ".minorkey.json", "minor-share.png", "minor-share.svg", "singular-values.png", "singular-values.svg",
        "weights.csv", "weights.json",
    ]  # fmt: skip
    found = read_spectrum(out)
    assert (len(found.weights), found.rank, found.update, found.drift) == (24, 4, [], [])


def test_a_run_is_surveyed_at_its_own_rank_and_its_frozen_blocks_are_unchanged(run):
    found = read_spectrum(run.spectrum)
    assert found.rank == 4
    assert {row.block for row in found.update if row.changed} == {1, 2, 3}  # SoMA freezes a third of 4 blocks
    assert all(row.minor.either > row.random.either for row in found.update if row.changed)
    assert {(row.domain, row.role, row.images) for row in found.drift} == {
        ("clear", "source", 2), ("night", "unseen", 2)
    }  # fmt: skip
    assert all((row.change == 0) == (row.block == 0) for row in found.drift)
    assert {"update.png", "drift.png", "update.csv", "drift.csv"} <= {path.name for path in run.spectrum.iterdir()}


def test_without_images_there_is_no_drift(run, tmp_path):
    shutil.copytree(run.spectrum, tmp_path / "here")
    found = survey(run.path, rank=2, images=0, out=tmp_path / "here", console=QUIET)
    assert found.rank == 2
    assert found.update
    assert found.drift == []
    assert not any("drift" in path.name for path in (tmp_path / "here").iterdir())


def test_the_page_has_the_section_where_a_run_has_a_spectrum(run, finished_run, tmp_path):
    page = build_report([run.path], tmp_path / "with.html").read_text()
    assert "What changed in the weights" in page
    assert "Weights changed" in page
    assert "18 of 24" in page
    assert page.count("singular value") > 1
    assert "What changed in the weights" not in build_report([finished_run.path], tmp_path / "without.html").read_text()


def test_neither_a_run_nor_a_backbone(command, tmp_path):
    code, error = command("spectrum", tmp_path / "nothing")
    assert code == 2
    assert "nothing' is no run folder (it holds no config.yaml), and as a backbone: backbone" in error
    assert "a hub id" in error
    assert len(error.splitlines()) == 1


def test_a_rank_larger_than_a_weight(command, backbone_folder, tmp_path):
    code, error = command("spectrum", backbone_folder, "--rank", 33, "--out", tmp_path / "out")
    assert code == 2
    assert "rank 33 does not fit layer 'encoder.layer.0.attention.q_proj' of size 32 x 32; give 1 to 32" in error
    assert not (tmp_path / "out").exists()


def test_a_run_that_has_not_ended(command, finished_run, tmp_path):
    shutil.copy(finished_run.config, tmp_path / "config.yaml")
    code, error = command("spectrum", tmp_path)
    assert code == 2
    assert f"the training in '{tmp_path}' has not ended; run `minorkey train --resume {tmp_path}` first" in error
