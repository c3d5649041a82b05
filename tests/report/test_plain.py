"""A report that is no page: Markdown and CSV."""

import csv
import json
import os
import re
import sys

import pytest

import minorkey
from minorkey.errors import ConfigError, DataError
from minorkey.evaluation.scores import ScoreTable
from minorkey.system.run_folder import RunFolder


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def seeds(make_run):
    """Two methods, two seeds each."""
    quality = {"soma": 0.9, "lora": 0.7}
    return [make_run(m, quality[m], seed=s) for m in quality for s in (0, 1)]


def test_markdown_says_it_first_and_has_a_row_for_each_method(seeds, tmp_path) -> None:
    out = minorkey.report(seeds, tmp_path / "deep" / "scores.md", title="Night | day")
    text = out.read_text(encoding="utf-8")
    assert text.startswith("<!-- scores by minorkey -->\n\n### Night \\| day\n\n**In unseen domains, SoMA")
    rows = re.findall(r"^\| (SoMA|LoRA) \|.*$", text, re.MULTILINE)
    assert rows == ["SoMA", "LoRA"]
    assert "Intervals over seeds cover the randomness of training" in text
    assert text.endswith("In brackets: mean over 2 seeds, lowest to highest seed.\n")
    assert not list(tmp_path.glob("deep/figures"))


def test_csv_has_every_seed_and_domain(seeds, tmp_path) -> None:
    lines = read(minorkey.report(seeds, tmp_path / "scores.CSV"))
    expected = zip(map(str, seeds), ("soma", "soma", "lora", "lora"), "0101", strict=True)
    assert {(line["run"], line["method"], line["seed"]) for line in lines} == set(expected)
    scores = ScoreTable.read(seeds[1] / "metrics.json")
    own = [line for line in lines if line["run"] == str(seeds[1])]
    assert [(line["role"], line["domain"]) for line in own[:-1]] == [(s.role, s.domain) for s in scores.domains]
    for line, each in zip(own, [*scores.domains, scores.unseen_mean], strict=True):
        written = [float(line[name]) for name in ("score", "low", "high")]
        assert written == [100 * value for value in (each.score, *each.interval)]
    assert (own[-1]["role"], own[-1]["images"]) == ("mean", "")
    assert {(line["metric"], line["unit"], line["regime"]) for line in lines} == {("mIoU", "%", "supervised")}


def test_one_image_has_no_interval(make_run, tmp_path) -> None:
    lines = read(minorkey.report(make_run("soma", 0.9, images=1), tmp_path / "scores.csv"))
    assert {(line["low"], line["high"]) for line in lines} == {("", "")}


def test_of_a_folder_of_trials_those_that_diverged_are_left_out(make_run, tmp_path) -> None:
    rates = tmp_path / "rates"
    kept, diverged = RunFolder(rates / "soma-0.001-100"), RunFolder(rates / "soma-3e+09-100")
    diverged.path.mkdir(parents=True)
    make_run("soma", 0.9).rename(kept.path)
    for folder in (kept, diverged):
        folder.config.write_text("seed: 100\n")
    diverged.log.write_text("")
    with pytest.raises(DataError):
        minorkey.report(rates, tmp_path / "scores.csv")
    diverged.diverged.write_text("loss is not finite\n")
    runs = {line["run"] for line in read(minorkey.report(rates, tmp_path / "scores.csv"))}
    assert runs == {str(kept.path)}


def test_a_domain_with_nothing_to_score_has_an_empty_one(make_run, tmp_path) -> None:
    run = make_run("soma", 0.9)
    scores = ScoreTable.read(run / "metrics.json").to_json()
    scores["unscored"] = [{"domain": "void", "role": "unseen", "images": 3, "score": None, "why": "no labelled pixel"}]
    (run / "metrics.json").write_text(json.dumps(scores))
    (line,) = [line for line in read(minorkey.report(run, tmp_path / "s.csv")) if line["domain"] == "void"]
    assert (line["images"], line["score"], line["low"]) == ("3", "", "")
    assert "void" in minorkey.report(run, tmp_path / "s.md").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
@pytest.mark.parametrize("name", ["scores.md", "scores.csv", "scores.html"])
def test_a_folder_whose_name_is_in_no_encoding(make_run, tmp_path, name) -> None:
    run = make_run("soma", 0.9)
    strange = run.rename(os.fsdecode(os.fsencode(run) + b"\xff"))
    assert minorkey.report(strange, tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["scores.md", "scores.csv"])
def test_only_what_we_wrote_is_replaced(seeds, tmp_path, name) -> None:
    out = minorkey.report(seeds, tmp_path / name)
    first = out.read_bytes()
    assert minorkey.report(seeds, out).read_bytes() == first
    for of_others in (b"# Our results\n\n" + first, b"run,method,seed,loss\na,soma,0,0.1\n"):
        out.write_bytes(of_others)
        with pytest.raises(ConfigError, match="no page, figure or table that minorkey wrote"):
            minorkey.report(seeds, out)
        assert out.read_bytes() == of_others
    with pytest.raises(DataError, match="no run folder given"):
        minorkey.report([], tmp_path / f"other-{name}")
