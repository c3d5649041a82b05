import csv
import json
from statistics import mean

import numpy as np
import pytest
from matplotlib.text import Text

from minorkey.data.corruptions import corruption_title
from minorkey.evaluation.scores import ScoreTable, TrainingCost, build_scores
from minorkey.reporting.robustness import robustness_markdown, robustness_rows, summarise, write_robustness
from minorkey.reporting.robustness_figure import draw_robustness
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.evidence import PixelEvidence

CLASSES = ["road", "car"]


def table(domains: dict[str, int], run: str = "soma-0", method: str = "soma", **protocol: object) -> ScoreTable:
    """A run with `right` of 100 pixels of either class right in each domain, all others of the other class."""
    evidence = {
        name: ("unseen", PixelEvidence.of_matrices(np.array([[[right, 100 - right], [100 - right, right]]])))
        for name, right in domains.items()
    }
    return build_scores(
        evidence,
        run=run,
        method=method,
        classes=CLASSES,
        protocol=Protocol(label_space="two", **protocol),
        training=TrainingCost(),
    )


def miou(right: int) -> float:
    return right / (200 - right)


RUN = {
    "camvid": 90,
    "camvid+night@1": 80, "camvid+night@3": 60,
    "camvid+fog@3": 50, "camvid+fog@1": 70,
    "elsewhere+rain@5": 40,
}  # fmt: skip


def test_rows_are_the_scores_by_corruption_in_the_order_of_the_table():
    fog, night, rain = robustness_rows(table(RUN))
    assert (fog.corruption, night.corruption, rain.corruption) == ("fog", "night", "rain")
    assert list(fog.scores.items()) == [(1, miou(70)), (3, miou(50))]
    assert fog.mean == pytest.approx((miou(70) + miou(50)) / 2)
    assert fog.clean == miou(90)
    assert fog.kept == pytest.approx(fog.mean / miou(90))
    assert (rain.domain, rain.clean, rain.kept) == ("elsewhere", None, None)


def test_a_run_without_corrupted_domains_has_no_rows():
    assert robustness_rows(table({"camvid": 90, "a+b": 80, "camvid+night@6": 70, "camvid+what@3": 60})) == []


def test_stacked_corruptions_belong_to_the_corrupted_domain():
    (row,) = robustness_rows(table({"camvid+rain@1": 70, "camvid+rain@1+night@2": 50}))[1:]
    assert (row.domain, row.corruption, row.clean) == ("camvid+rain@1", "night", miou(70))


def test_the_summary_is_the_mean_over_corruptions_of_the_mean_over_severities():
    camvid, elsewhere = summarise(robustness_rows(table(RUN)))
    expected = mean([mean([miou(80), miou(60)]), mean([miou(50), miou(70)])])
    assert camvid.mean == pytest.approx(expected)
    assert camvid.kept == pytest.approx(expected / miou(90))
    assert (camvid.corruptions, camvid.even) == (2, True)
    assert elsewhere.kept is None


def test_severities_that_differ_are_said():
    rows = robustness_rows(table({"camvid+night@1": 80, "camvid+fog@2": 70, "camvid+fog@4": 50}))
    (summary,) = summarise(rows)
    assert not summary.even
    assert summary.mean == pytest.approx(mean([miou(80), mean([miou(70), miou(50)])]))
    assert "mean of 2, not all at the same severities" in robustness_markdown(rows)


def test_markdown_is_in_percent():
    lines = robustness_markdown(robustness_rows(table(RUN), "SoMA")).splitlines()
    assert lines[0] == "| run | domain | corruption | 1 | 2 | 3 | 4 | 5 | mean mIoU | kept |"
    assert lines[2] == "| SoMA | camvid | fog | 53.8 | – | 33.3 | – | – | 43.6 | 53.3 |"
    assert lines[4] == "| SoMA | elsewhere | rain | – | – | – | – | 25.0 | 25.0 | – |"
    assert lines[5] == "| SoMA | camvid | mean of 2 |  |  |  |  |  | 49.2 | 60.1 |"


def test_files_hold_the_same_numbers(tmp_path):
    rows = robustness_rows(table(RUN)) + robustness_rows(table(RUN, run="lora-0", method="lora"))
    write_robustness(tmp_path, rows)
    content = json.loads((tmp_path / "robustness.json").read_text())
    with (tmp_path / "robustness.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["run"] for line in lines] == ["soma-0"] * 3 + ["lora-0"] * 3
    for line, row, full in zip(lines, rows, content["rows"], strict=True):
        assert float(line["mean"]) == full["mean"] == pytest.approx(row.mean, abs=1e-6)
        assert line["severity_2"] == ""
        assert full["severity_2"] is None
        assert line["protocol"] == row.protocol
    assert [each["run"] for each in content["summaries"]] == ["soma-0", "soma-0", "lora-0", "lora-0"]
    assert content["summaries"][0]["kept"] == pytest.approx(0.601, abs=1e-3)


def lines_of(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) and
            not line.get_label().startswith("_")}  # fmt: skip


def test_a_single_run_is_one_plot_with_a_line_per_corruption():
    rows = [row for row in robustness_rows(table(RUN)) if row.domain == "camvid"]
    (axes,) = draw_robustness(rows).axes
    drawn = lines_of(axes)
    assert list(drawn) == ["fog", "night", "clean"]
    assert drawn["fog"] == pytest.approx([100 * miou(70), 100 * miou(50)])
    assert drawn["clean"] == pytest.approx([100 * miou(90)] * 2)
    bottom, top = axes.get_ylim()
    assert bottom == 0
    assert 100 * miou(90) < top < 110


def test_several_runs_are_small_plots_with_a_line_per_run():
    clean = {name: right for name, right in RUN.items() if name.startswith("camvid")}
    rows = robustness_rows(table(clean), "SoMA") + robustness_rows(table(clean, method="lora"), "LoRA")
    figure = draw_robustness(rows, {"SoMA": "#ff0000", "LoRA": "#0000ff"})
    assert [axes.get_title() for axes in figure.axes] == ["fog", "night"]
    for axes in figure.axes:
        assert list(lines_of(axes)) == ["SoMA", "LoRA"]
        assert [line.get_color() for line in axes.lines if line.get_linestyle() == "--"] == ["#ff0000", "#0000ff"]


def test_many_corruptions_are_small_plots_too(tmp_path):
    names = ["fog", "snow", "rain", "night", "glare", "jpeg", "contrast", "brightness", "pixelate"]
    figure = draw_robustness(robustness_rows(table({f"camvid+{name}@{s}": 90 - s for name in names for s in (1, 5)})))
    assert len(figure.axes) == len(names)
    assert {axes.get_ylim()[0] for axes in figure.axes} == {0}
    assert all(axes.get_ylim()[1] > 100 * miou(89) for axes in figure.axes)
    figure.savefig(tmp_path / "figure.png")


def test_protocols_and_domains_that_differ_are_told_apart():
    other = table({"camvid+fog@3": 50}, run="late", flip=True)
    rows = [*robustness_rows(table(RUN)), *robustness_rows(other)]
    (fog,) = (axes for axes in draw_robustness(rows).axes if axes.get_title() == "fog")
    assert list(lines_of(fog)) == [
        f"soma-0, camvid (protocol {rows[0].protocol})",
        f"late, camvid (protocol {other.protocol.id()})",
    ]


def test_a_corruption_of_ones_own_comes_last_and_is_named_without_importing_it():
    domains = {"camvid": 90, "camvid+mine.looks:dye@4": 60, "camvid+night@1": 80}
    night, dye = robustness_rows(table(domains))
    assert (night.corruption, dye.corruption) == ("night", "mine.looks:dye")
    assert dye.clean == miou(90)
    assert corruption_title("mine.looks:dye") == "dye"
    assert "dye" in [text.get_text() for text in draw_robustness([night, dye]).findobj(Text)]
