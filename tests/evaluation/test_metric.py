"""Metrics as rows: one that has no classes, is no percentage and is better when it is lower, on every page."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from minorkey.config import resolve
from minorkey.errors import ConfigError, OutsideError
from minorkey.evaluation.bootstrap import paired_difference
from minorkey.evaluation.evidence_files import read_evidence
from minorkey.evaluation.scores import ScoreTable, TrainingCost, build_scores
from minorkey.labels import label_space
from minorkey.reporting.adaptation.runs import compare_adapted
from minorkey.reporting.details import domain_class_rows, domain_detail_rows, missing_class_notes, unseen_class_rows
from minorkey.reporting.page import build_report
from minorkey.reporting.robustness import robustness_markdown, robustness_rows, robustness_table
from minorkey.reporting.runs import read_run
from minorkey.reporting.tables import build_grid, markdown_table
from minorkey.reporting.verdict import verdict
from minorkey.spectrum.knockout.plots import knockout_figures
from minorkey.spectrum.knockout.rows import KnockoutRow
from minorkey.spectrum.knockout.table import knockout_table
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.image_scores import ImageScores
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.task import Segmentation

NAME = "outside_metric:ERROR"
SPACE = label_space("street7")
ERRORS = {"clear": 0.3, "night": 0.9, "fog": 0.6, "fog+rain@1": 0.9, "fog+rain@3": 1.5}


@pytest.fixture(autouse=True)
def outsider(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    sys.modules.pop("outside_metric", None)


def write_run(folder: Path, method: str, factor: float) -> Path:
    """A run with errors of `factor` times ERRORS metres."""
    rng = np.random.default_rng(3)
    evidence = {name: ImageScores(factor * error * rng.uniform(0.9, 1.1, 12)) for name, error in ERRORS.items()}
    scores = build_scores(
        {name: ("source" if name == "clear" else "unseen", each) for name, each in evidence.items()},
        run=f"{method}-0",
        method=method,
        classes=SPACE.classes,
        protocol=Protocol(label_space=SPACE.name, metric=NAME, task="segmentation"),
        training=TrainingCost(seed=0),
    )
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(scores.to_json()))
    (folder / "config.yaml").write_text("backbone: {name: builtin}\nhead: {name: linear}\n")
    stored = {key: array for name, each in evidence.items() for key, array in each.stored(name).items()}
    save_file(stored, folder / "evidence.safetensors")
    return folder


@pytest.fixture
def runs(tmp_path):
    resolve(None, {"source": "world:clear", "evaluation": {"metric": NAME}})  # the user names it, and so allows it
    return [write_run(tmp_path / method, method, factor) for method, factor in (("soma", 2.0), ("lora", 1.0))]


def test_the_worst_domain_is_the_one_with_the_highest_error(runs) -> None:
    scores = ScoreTable.read(runs[1] / "metrics.json")
    assert scores.worst.domain == "night"
    assert (scores.domains[0].by_class, scores.domains[0].missing_classes) == ({}, [])
    assert scores.protocol.describe().startswith("street7, all classes; classes taken for metres; native size")
    (again, _) = (read_evidence(RunFolder(runs[1]), scores.protocol, 7), None)
    assert again["night"].score() == scores.worst.score


def test_tables_are_in_metres_and_the_lowest_is_bold(runs) -> None:
    tables = [read_run(folder).scores for folder in runs]
    text = markdown_table(tables)
    assert text.startswith("| RMSE, m | clear (source) |")
    assert "%" not in text
    soma, lora = text.splitlines()[2:4]
    assert "**" not in soma
    assert lora.count("**") == 2 * len(build_grid(tables).columns)
    night = tables[1].domains[1]
    assert f"**{night.score:.3f}** [{night.interval[0]:.3f}, {night.interval[1]:.3f}]" in lora


def test_the_verdict_prefers_the_lower_error(runs) -> None:
    loaded = [read_run(folder) for folder in runs]
    found = verdict(loaded)
    means = [run.scores.unseen_mean.score for run in loaded]
    lead = f"{means[0] - means[1]:.3f} m"
    assert found.headline.startswith(
        f"In unseen domains, SoMA is {lead} behind LoRA: {means[0]:.3f} m RMSE against {means[1]:.3f} m, mean of 2."
    )
    assert f"SoMA is not the best in unseen domains: {lead} behind LoRA ({means[1]:.3f} m RMSE)." in found.details
    said = [found.headline, *found.details, *found.certainty]
    assert not any("%" in line.replace("95 %", "") or "points" in line for line in said)


def test_rows_of_classes_are_empty_and_corruptions_cost(runs) -> None:
    tables = [read_run(folder).scores for folder in runs]
    assert unseen_class_rows(tables) == domain_class_rows(tables[0]) == domain_detail_rows(tables[0]) == []
    assert missing_class_notes(tables) == []
    rows = robustness_rows(tables[1])
    assert rows[0].kept == pytest.approx(2, abs=0.1)
    head, _, line, _ = robustness_markdown(rows).splitlines()
    assert head.endswith("| mean RMSE | of clean |")
    assert f"| {rows[0].scores[3]:.3f} |" in line
    assert [column.header for column in robustness_table(rows).columns][-2:] == ["mean", "of clean, %"]


def test_a_gain_of_adaptation_is_a_loss_of_error(runs) -> None:
    loaded = [read_run(folder) for folder in runs]
    (comparison,) = compare_adapted(loaded, {1: ["night"]})
    assert comparison.after < comparison.before
    assert comparison.classes == []


def test_the_page_has_no_percent_of_it(runs, tmp_path) -> None:
    page = build_report(runs, tmp_path / "report.html").read_text()
    assert "RMSE in m, with the 95 % bootstrap interval" in page
    assert "The mean over the images of a domain." in page
    assert "Share of the clean score" in page
    for absent in ("RMSE in %", "mIoU", "IoU", "Classes in unseen domains"):
        assert absent not in page


def test_knock_outs_count_what_is_lost() -> None:
    row = KnockoutRow(
        block=None, which="minor", share=0.1, domain="night", role="unseen", images=3, metric=NAME, task="segmentation",
        intact=0.5, without=0.7, loss=0.2, low=0.1, high=0.3, class_loss={},
    )  # fmt: skip
    table = knockout_table([row])
    assert table.title == "loss in m of RMSE"
    assert list(table.columns[1].cells) == ["+0.200"]
    assert list(knockout_figures([row])) == ["knockout_minor"]


def test_differences_are_in_the_unit(runs) -> None:
    first, second = (read_run(folder).evidence["night"] for folder in runs)
    assert paired_difference([first], [second]).value == pytest.approx(second.score())


def test_a_metric_in_a_file_of_others_is_refused(runs, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("minorkey.system.outside._taken", set())
    with pytest.raises(ConfigError, match=r"a file of scores names metric 'outside_metric:ERROR', which is code that"):
        markdown_table([ScoreTable.read(runs[0] / "metrics.json")])


def test_an_outside_name_that_is_no_metric() -> None:
    with pytest.raises(
        OutsideError, match="metric 'outside_metric:miscounted' is of type function; expected a minorkey"
    ):
        Segmentation().metric("outside_metric:miscounted")


def test_a_run_is_trained_and_scored_by_it(make_config, tmp_path, console) -> None:
    from minorkey.runs.train import train

    scores = train(make_config(evaluation={"metric": NAME, "pictures": 1}), tmp_path / "run", console=console)
    assert (scores.metric.name, scores.protocol.metric) == ("RMSE", NAME)
    assert [score.domain for score in scores.domains] == ["clear", "night"]
    assert (tmp_path / "run" / "evidence.safetensors").is_file()
