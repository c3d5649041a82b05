import csv

import pytest

from minorkey.cli import main
from minorkey.data.corruptions import CORRUPTIONS
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import ScoreTable
from minorkey.reporting.page import report
from minorkey.runs import api


@pytest.fixture(scope="module")
def judged(finished_run, tmp_path_factory):
    """A run judged under every corruption at two severities, by the command."""
    out = tmp_path_factory.mktemp("robustness")
    command = ["evaluate", str(finished_run.path), "--robustness", "--severity", "1", "--severity", "5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["minorkey", *command, "--out", str(out), "evaluation.images=1"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return out


def test_every_corruption_is_judged(judged):
    scores = ScoreTable.read(judged / "metrics.json")
    expected = ["night", *(f"night+{name}@{severity}" for name in CORRUPTIONS for severity in (1, 5))]
    assert [score.domain for score in scores.domains] == expected
    lines = list(csv.DictReader((judged / "robustness.csv").open()))
    assert [line["corruption"] for line in lines] == list(CORRUPTIONS)
    by_domain = {score.domain: score.score for score in scores.domains}
    assert all(
        float(x["severity_5"]) == pytest.approx(by_domain[f"night+{x['corruption']}@5"], abs=1e-6) for x in lines
    )
    assert (judged / "figures" / "robustness.png").stat().st_size > 1000


def test_corruptions_of_a_domain_are_no_further_unseen_domains(judged):
    scores = ScoreTable.read(judged / "metrics.json")
    assert [score.domain for score in scores.unseen] == ["night"]
    assert scores.unseen_mean.score == scores.domains[0].score


def test_the_page_shows_them(judged, tmp_path):
    page = report(judged, tmp_path / "page.html").read_text()
    assert "Under corruptions" in page
    assert "Gaussian noise" in page


def test_only_scored_classes_count(finished_run, tmp_path, console):
    evaluation = {"classes": ["road", "sky"], "source": False}
    scores = api.evaluate(finished_run.path, out=tmp_path, console=console, evaluation=evaluation)
    counted = [name for name, value in scores.domains[0].by_class.items() if value is not None]
    assert set(counted) <= {"road", "sky"}
    assert "2 classes" in scores.protocol.describe()
    with pytest.raises(ConfigError, match="unknown class of label space 'cityscapes19' 'raod'; did you mean 'road'"):
        api.evaluate(finished_run.path, out=tmp_path, console=console, evaluation={"classes": ["raod"]})


def test_a_domain_under_a_corruption_is_not_corrupted_again(finished_run):
    with pytest.raises(ConfigError, match=r"'world:night\+fog@2' is under a corruption already; name the domain"):
        api.under_corruptions(finished_run.path, {"unseen": ["world:night+fog@2"]})


def test_what_was_asked_under_a_corruption_is_judged_beside_the_others_once(finished_run):
    asked = {"unseen": ["world:night", "world:fog+rain", "world:night+fog@2"]}
    judged = api.under_corruptions(finished_run.path, asked, [2])["unseen"]
    under = [f"world:night+{name}@2" for name in CORRUPTIONS]
    assert judged == ["world:night", *under, "world:fog+rain@3"]
