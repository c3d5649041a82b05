from dataclasses import replace

import numpy as np
import pytest

from minorkey.evaluation.bootstrap import paired_t_interval
from minorkey.reporting.compared import Entry
from minorkey.reporting.differences import gap
from minorkey.reporting.runs import read_run
from minorkey.reporting.seeds import by_method
from minorkey.reporting.verdict import ONE_RUN, SEEDS, verdict

UNSEEN = ["dusk", "night", "fog", "rain"]


def loaded(folders):
    return by_method([read_run(folder) for folder in folders])


def means(runs):
    return [100 * run.scores.unseen_mean.score for run in runs]


def test_says_what_is_won_elsewhere_and_at_home(runs):
    found, (soma, _, full, _) = verdict(loaded(runs)), means(loaded(runs))
    home = [100 * run.scores.domains[0].score for run in loaded(runs)]
    assert found.headline == (
        f"In unseen domains, SoMA is {soma - full:.1f} points ahead of full fine-tuning: {soma:.1f} % mIoU against "
        f"{full:.1f} %, mean of 4. On clear, the source, it is {home[0] - home[2]:.1f} points ahead."
    )
    assert "the choice of test images does not explain it" in found.certainty[0]
    assert not any("not the best" in sentence for sentence in found.details)


def test_says_plainly_what_is_lost(make_run):
    found = verdict(loaded([make_run("soma", 0.6), make_run("lora", 0.9), make_run("full", 0.95)]))
    assert "points behind full fine-tuning: " in found.headline
    assert found.headline.endswith(" points behind.")
    assert "SoMA is not the best in unseen domains: " in found.details[0]
    assert "points behind full fine-tuning (" in found.details[0]


def test_a_third_method_that_is_best_is_not_passed_over(make_run):
    found = verdict(loaded([make_run("soma", 0.8), make_run("lora", 0.95), make_run("full", 0.6)]))
    assert "SoMA is" in found.headline
    assert "ahead of full fine-tuning" in found.headline
    (sentence,) = found.details
    assert sentence.startswith("SoMA is not the best in unseen domains: ")
    assert " behind LoRA (" in sentence
    assert "between SoMA and LoRA" in found.certainty[1]


def test_a_method_that_is_level_is_not_called_the_best(make_run):
    """Accuracies are often equal; one of them comes first in the order of runs."""
    full, soma = loaded([make_run("full", 0.8), make_run("soma", 0.9)])
    found = verdict([replace(full, scores=soma.scores.model_copy(update={"method": "full"})), soma])
    assert not any("not the best" in sentence for sentence in found.details)


def test_equal_methods_are_not_told_apart(make_run):
    found = verdict(loaded([make_run("soma", 0.8), make_run("full", 0.8)]))
    assert found.headline.startswith("In unseen domains, SoMA and full fine-tuning cannot be told apart: ")
    assert " On clear, the source, they cannot be told apart (" in found.headline
    assert "which includes zero: it may be the choice of test images" in found.certainty[0]


@pytest.mark.parametrize("starts", [1, 3])
def test_a_start_of_several_seeds_makes_no_more_trainings(make_run, starts):
    trained = [make_run("soma", quality, seed=seed) for seed, quality in enumerate((0.5, 0.75, 0.9))]
    start = [make_run("frozen", 0.6, steps=0, seed=seed) for seed in range(starts)]
    soma, frozen = loaded([*trained, *start])
    found = gap(soma, frozen, UNSEEN)
    assert (len(frozen.seeds), found.over) == (starts, "3 seeds")


@pytest.mark.parametrize(
    ("quality", "said"), [(0.9, "SoMA gains "), (0.4, "SoMA loses "), (0.6, "SoMA shows no sure change on clear (")]
)
def test_changes_are_counted_from_the_start(make_run, quality, said):
    start = make_run("frozen", 0.6, steps=0)
    found = verdict(loaded([start, make_run("soma", quality), make_run("full", 0.75)]))
    assert found.details[0].startswith(f"Against the frozen start, {said}")
    assert " points on clear" in found.details[0]
    assert " elsewhere and " in found.details[0]
    assert " on night, the worst domain at first" in found.details[0]
    assert "; full fine-tuning gains " in found.details[0]
    assert found.details[0].endswith(" on night.")


@pytest.mark.parametrize(("full", "said"), [(0.6, 1), (0.55, 1), (0.75, 0)])
def test_where_nothing_is_gained_at_home_the_page_says_so(make_run, full, said):
    start = make_run("frozen", 0.6, steps=0)
    found = verdict(loaded([start, make_run("soma", 0.5), make_run("full", full)]))
    assert sum("No method gains anything sure on clear" in sentence for sentence in found.details) == said


@pytest.mark.parametrize(("elsewhere", "said"), [(0.5, True), (0.75, False)])
def test_where_something_is_gained_elsewhere_it_is_not_called_lost(make_run, elsewhere, said):
    """Nobody gains at home here: whoever trained has the scores of the start there."""
    start = read_run(make_run("frozen", 0.6, steps=0))
    trained = [read_run(make_run(method, elsewhere)) for method in ("soma", "full")]
    runs = [replace(run, evidence={**run.evidence, "clear": start.evidence["clear"]}) for run in trained]
    (sentence,) = [each for each in verdict(by_method([start, *runs])).details if "No method gains anything" in each]
    assert ("lose nothing in other domains" in sentence) == said


def test_seeds_are_paired(make_run):
    folders = [make_run(m, q, seed=s) for m, q in (("soma", 0.9), ("full", 0.7)) for s in range(3)]
    methods = loaded(folders)
    found = verdict(methods)
    scores = [[read_run(folder).scores.unseen_mean.score for folder in folders[i : i + 3]] for i in (0, 3)]
    expected = paired_t_interval(np.subtract(*scores))
    between = gap(*methods, UNSEEN)
    assert between.interval == pytest.approx(expected)
    assert between.value == pytest.approx(expected.value)
    assert "over 3 seeds, paired (Student t)" in found.certainty[0]
    assert found.certainty[-1] == SEEDS


def test_against_a_start_each_seed_counts(make_run):
    start = make_run("frozen", 0.6, steps=0)
    folders = [make_run("soma", 0.9, seed=s) for s in range(2)]
    begun, soma = loaded([start, *folders])
    own = [run.scores.unseen_mean.score - begun.scores.unseen_mean.score for run in soma.seeds]
    assert gap(soma, begun, UNSEEN).interval == pytest.approx(paired_t_interval(own))


def test_unequal_seeds_are_not_tested(make_run):
    found = verdict(loaded([make_run("soma", 0.9), make_run("full", 0.7), make_run("full", 0.7, seed=1)]))
    assert "whether SoMA or full fine-tuning is better was not tested" in found.headline
    assert "was not tested" in found.certainty[0]


def test_difference_is_that_of_the_unseen_means(runs):
    a, b = loaded(runs[:2])
    gaps = [a.evidence[n].score() - b.evidence[n].score() for n in UNSEEN]
    difference = gap(a, b, UNSEEN)
    assert difference.value == pytest.approx(np.mean(gaps))
    assert difference.value == pytest.approx(a.scores.unseen_mean.score - b.scores.unseen_mean.score)
    assert difference.interval.low < difference.value < difference.interval.high


def test_without_per_image_results_nothing_is_claimed(make_run):
    folders = [make_run("soma", 0.9), make_run("lora", 0.7)]
    (folders[1] / "confusions.safetensors").unlink()
    found = verdict(loaded(folders))
    assert "was not tested" in found.headline
    assert "was not tested" in found.certainty[0]


def test_another_protocol_takes_no_part(runs, make_run):
    found = verdict(loaded([*runs, make_run("pissa", 1.0, resize=512)]))
    assert "SoMA is" in found.headline
    assert "PiSSA" not in " ".join([found.headline, *found.details, *found.certainty])


def test_one_run_claims_no_comparison(runs):
    found = verdict(loaded(runs[:1]))
    assert found.headline.startswith("SoMA reaches ")
    assert found.details == ["One run alone says nothing about which method is better."]


def test_one_run_of_each_is_said_to_be_that(runs):
    assert verdict(loaded(runs)).certainty[-1] == ONE_RUN


def test_of_one_image_a_domain_nothing_is_claimed(make_run):
    a, b = loaded([make_run("soma", 0.9, images=1), make_run("full", 0.5, images=1)])
    found = gap(a, b, ["night", "fog"])
    assert found.value > 0
    assert found.direction == "untested"


def test_the_source_under_corruptions_is_no_further_source(make_run):
    (run,) = loaded([make_run("soma", 0.9)])
    clear = run.scores.domains[0]
    night = clear.model_copy(update={"domain": "clear+night@3", "score": 0.1})
    table = run.scores.model_copy(update={"domains": [clear, night, *run.scores.domains[1:]]})
    assert [score.domain for score in table.home] == ["clear"]
    assert Entry("SoMA", replace(run, scores=table), 0.5).domains("source") == ["clear"]
