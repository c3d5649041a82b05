"""Runs that differ in their seed alone are one method of the page."""

import re
from dataclasses import replace
from statistics import fmean

import pytest

from minorkey.reporting.compared import Entry, compare
from minorkey.reporting.differences import gap
from minorkey.reporting.gains import gain_figure, points
from minorkey.reporting.median import pictured
from minorkey.reporting.page import build_report
from minorkey.reporting.runs import read_run
from minorkey.reporting.seeds import by_method, interval_words
from minorkey.reporting.tables import comparable
from minorkey.reporting.verdict import verdict


@pytest.fixture
def folders(make_run):
    start = make_run("frozen", 0.6, steps=0)
    return [start, *(make_run(m, q, seed=s) for m, q in (("full", 0.7), ("soma", 0.9)) for s in range(3))]


def read(folders):
    return [read_run(folder) for folder in folders]


def test_a_method_has_the_mean_of_its_seeds(folders):
    runs = read(folders)
    start, full, soma = by_method(runs)
    assert (len(start.seeds), len(full.seeds), len(soma.seeds)) == (1, 3, 3)
    means = [run.scores.unseen_mean.score for run in runs[4:]]
    assert soma.scores.unseen_mean.score == pytest.approx(fmean(means))
    assert soma.scores.unseen_mean.interval == (min(means), max(means))
    nights = [run.scores.domains[2].by_class["road"] for run in runs[4:]]
    assert soma.scores.domains[2].by_class["road"] == pytest.approx(fmean(nights))
    assert soma.scores.worst.domain == "night"
    assert start is not None
    assert start.scores == runs[0].scores


def test_other_settings_are_another_method(make_run):
    runs = read([make_run("soma", 0.9), make_run("soma", 0.9, seed=1, steps=100), make_run("soma", 0.8)])
    assert len(by_method(runs[:2])) == 2
    assert len(by_method([runs[0], runs[2]])) == 2, "one seed twice is no second seed"


def _on_images(run, role, name):
    """The run as judged on images of a role's domains that have this fingerprint."""
    domains = [s.model_copy(update={"image_set": name if s.role == role else "same"}) for s in run.scores.domains]
    return replace(run, scores=run.scores.model_copy(update={"domains": domains}))


@pytest.mark.parametrize(("role", "methods"), [("source", 3), ("unseen", 7)])
def test_seeds_may_be_judged_on_other_images_of_the_source_alone(folders, role, methods):
    """As where `val` is drawn by the seed."""
    runs = [_on_images(run, role, f"of seed {run.scores.training.seed}") for run in read(folders)]
    assert len(by_method(runs)) == methods
    assert all(comparable([run.scores for run in runs])) == (role == "source")


def test_images_that_differ_are_not_paired(folders):
    first, second = (_on_images(run, "source", name) for run, name in zip(read(folders)[1:3], "ab", strict=True))
    home, elsewhere = (gap(first, second, domains) for domains in (["clear"], ["night", "fog"]))
    assert (home.interval, home.value) == (None, first.scores.domains[0].score - second.scores.domains[0].score)
    assert elsewhere.over == "images"
    assert {each.off for each in pictured([first, second], "clear")} == {None}


def test_seeds_that_differ_by_the_same_amount_prove_nothing(folders):
    def at(run, score):
        domains = [domain.model_copy(update={"score": score}) for domain in run.scores.domains]
        return replace(run, scores=run.scores.model_copy(update={"domains": domains}))

    def of(method, scores):
        runs = [run for run in read(folders) if run.scores.method == method]
        return by_method([at(run, score) for run, score in zip(runs, scores, strict=True)])[0]

    found = gap(of("soma", [0.5, 0.6, 0.7]), of("full", [0.4, 0.5, 0.6]), ["night"])
    assert (found.direction, found.value) == ("untested", pytest.approx(0.1))
    assert gap(of("soma", [0.5, 0.6, 0.7]), of("full", [0.5, 0.6, 0.7]), ["night"]).direction == "level"


def test_a_seed_that_one_lacks_is_left_aside(folders):
    runs = read(folders)
    soma, full = by_method(runs[4:6])[0], by_method(runs[1:4])[0]
    found = gap(soma, full, ["night"])
    each = [a.scores.domains[2].score - b.scores.domains[2].score for a, b in zip(runs[4:6], runs[1:3], strict=True)]
    assert found.value == pytest.approx(fmean(each))
    assert found.interval.low < found.value < found.interval.high
    assert found.how == "over 2 seeds that both have, paired (Student t)"
    said = verdict(by_method([*runs[1:4], *runs[4:6]]))
    of_common = by_method(runs[1:3])[0].scores.unseen_mean.score
    assert f"against {100 * of_common:.1f} %" in said.headline
    assert "2 seeds that both have" in said.headline
    assert gap(by_method(runs[4:6])[0], runs[3], ["night"]).direction == "untested", "no seed in common"


def test_each_seed_is_held_against_the_start_that_it_had(folders, make_run):
    """A frozen start may have a head of its own for each seed; its settings then name another run."""
    runs = read(folders)
    starts = [read_run(make_run("frozen", 0.4 + seed / 10, seed=seed, steps=0)) for seed in range(3)]
    for seed, start in enumerate(starts):
        start.__dict__["settings"] = {"head_from": f"runs/soma-{seed}"}  # in place of what the file would say
    start, soma = by_method([*starts, *runs[4:]])
    assert len(start.seeds) == 3
    expected = [a.scores.domains[2].score - b.scores.domains[2].score for a, b in zip(runs[4:], starts, strict=True)]
    assert gap(soma, start, ["night"]).value == pytest.approx(fmean(expected))
    parts = compare([*starts, soma])
    assert (parts.subject.run, parts.rival) == (soma, parts.baseline), "a start is nobody's rival"


def test_domains_may_be_named_in_another_order(folders):
    first, second = read(folders)[4:6]
    turned = replace(second, scores=second.scores.model_copy(update={"domains": second.scores.domains[::-1]}))
    (joined,), (same,) = by_method([first, turned]), by_method([first, second])
    assert joined.scores == same.scores


def test_what_intervals_are_is_said(folders):
    runs = by_method(read(folders))
    assert interval_words(runs[:1]) == "95 % bootstrap interval over images"
    assert interval_words(runs) == (
        "mean over 3 seeds, lowest to highest seed; of a single run, its 95 % bootstrap interval over images"
    )


def test_gains_are_those_of_each_seed_over_the_start(folders):
    runs = by_method(read(folders))
    parts = compare(runs)
    start, soma = runs[0].scores, runs[2].seeds
    expected = [
        (100 * (run.scores.domains[0].score - start.domains[0].score),
         100 * (run.scores.unseen_mean.score - start.unseen_mean.score))
        for run in soma
    ]  # fmt: skip
    assert points(parts.subject, parts) == [pytest.approx(each) for each in expected]
    (axes,) = gain_figure(parts, runs, ["#111111", "#222222", "#333333"]).axes
    drawn = [line for line in axes.lines if line.get_color() == "#333333"]
    assert [len(line.get_xdata()) for line in drawn] == [3, 1], "the seeds, and their mean"
    assert axes.get_xlabel() == "change on clear, points"
    assert axes.get_xlim()[0] < axes.get_xlim()[1]


def test_right_and_up_are_better_where_less_is(folders, monkeypatch):
    runs = by_method(read(folders))
    parts = compare(runs)
    less = replace(parts.subject.metric, higher_is_better=False)
    monkeypatch.setattr(Entry, "metric", less)
    (axes,) = gain_figure(parts, runs, ["#111111", "#222222", "#333333"]).axes
    axes.figure.canvas.draw()
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_without_a_start_scores_stand_in_the_plane(make_run):
    runs = by_method(read([make_run("soma", 0.9), make_run("lora", 0.8)]))
    parts = compare(runs)
    first = runs[0].scores
    assert points(parts.subject, parts) == [
        pytest.approx((100 * first.domains[0].score, 100 * first.unseen_mean.score))
    ]
    assert gain_figure(parts, runs, ["#111111", "#222222"]).axes[0].get_xlabel() == "clear: mIoU, %"


def test_the_page_has_a_row_for_each_method(folders, tmp_path):
    text = build_report(folders, tmp_path / "r.html").read_text()
    table = re.search(r'<table class="changes">.*?</table>', text, re.DOTALL)[0]
    assert re.findall(r"</i>([^<]+)</th>", table) == ["Full fine-tuning", "SoMA"]
    assert table.count('class="ahead"') == 2 * 3
    assert "Frozen start" in table
    assert "mIoU in %: mean over 3 seeds, lowest to highest seed" in text
    assert "A dot for each seed" in text
