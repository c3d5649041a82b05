import numpy as np
import pytest

from minorkey.reporting.runs import read_run
from minorkey.reporting.verdict import SEVERAL_RUNS, unseen_difference, verdict
from minorkey.tasks.segmentation.confusion import mean_iou


def loaded(folders):
    return [read_run(folder) for folder in folders]


def test_names_the_best_and_the_lead(runs):
    found = verdict(loaded(runs))
    means = [100 * run.scores.unseen_mean.score for run in loaded(runs)]
    assert found.headline == (
        f"SoMA has the best mean over 4 unseen domains: {means[0]:.1f} % mIoU, "
        f"{means[0] - means[1]:.1f} points above LoRA."
    )
    assert "the choice of test images does not explain it" in found.details[0]
    assert not any("not the best" in sentence for sentence in found.details)


def test_says_plainly_that_soma_is_not_best(make_run):
    found = verdict(loaded([make_run("soma", 0.6), make_run("lora", 0.9), make_run("full", 0.95)]))
    assert found.headline.startswith("Full fine-tuning has the best mean")
    sentence = next(sentence for sentence in found.details if "SoMA is not the best here" in sentence)
    assert "points behind Full fine-tuning" in sentence
    assert "95 % paired bootstrap" in sentence


def test_equal_methods_are_not_told_apart(make_run):
    found = verdict(loaded([make_run("soma", 0.8), make_run("lora", 0.8)]))
    assert found.headline.startswith("No method is shown to be best over 4 unseen domains: ")
    assert "includes zero: these test images do not tell the two apart" in found.details[0]


def test_difference_is_that_of_the_unseen_means(runs):
    a, b = loaded(runs[:2])
    names = [score.domain for score in a.scores.unseen]
    gaps = [mean_iou(a.evidence[n].total) - mean_iou(b.evidence[n].total) for n in names]
    difference = unseen_difference(a, b)
    assert difference.value == pytest.approx(np.mean(gaps))
    assert difference.value == pytest.approx(a.scores.unseen_mean.score - b.scores.unseen_mean.score)
    assert difference.low < difference.value < difference.high


def test_without_per_image_results_nothing_is_claimed(make_run):
    folders = [make_run("soma", 0.9), make_run("lora", 0.7)]
    (folders[1] / "confusions.safetensors").unlink()
    assert "was not tested" in verdict(loaded(folders)).details[0]


def test_another_protocol_takes_no_part(runs, make_run):
    found = verdict(loaded([*runs, make_run("pissa", 1.0, resize=512)]))
    assert found.headline.startswith("SoMA has the best")
    assert "PiSSA" not in " ".join([found.headline, *found.details])


def test_one_run_claims_no_comparison(runs):
    found = verdict(loaded(runs[:1]))
    assert found.headline.startswith("SoMA reaches ")
    assert found.details == ["One run alone says nothing about which method is better."]


def test_several_runs_of_a_method_are_pointed_out(runs, make_run):
    assert SEVERAL_RUNS in verdict(loaded([*runs, make_run("soma", 0.9, seed=1)])).details
    assert SEVERAL_RUNS not in verdict(loaded(runs)).details
