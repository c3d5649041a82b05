"""The picture of a domain is that of its median image."""

import json

import numpy as np
import pytest

from minorkey.labels import label_space
from minorkey.reporting.gallery import build_gallery, choice_words
from minorkey.reporting.median import pictured
from minorkey.reporting.runs import read_run
from minorkey.tasks.image_scores import ImageScores

SPACE = label_space("cityscapes19")


@pytest.fixture
def scored(make_run, monkeypatch):
    """Two runs on nine images, two of them with pictures, whose scores are what a test wants them to be."""

    def make(scores, places):
        runs = [read_run(make_run(method, 0.8, images=9)) for method in ("soma", "full")]
        for run, values in zip(runs, scores, strict=True):
            run.evidence["fog"] = ImageScores(np.array(values, float))
            run.places.update({("fog", key): place for key, place in places.items()})
        return runs

    return make


def test_the_median_of_the_mean_over_the_runs_comes_first(scored):
    first = [9, 1, 8, 2, 7, 3, 6, 4, 5]
    second = [5, 1, 8, 2, 7, 3, 6, 4, 9]  # means: 7, 1, 8, 2, 7, 3, 6, 4, 7
    runs = scored([first, second], {"0000": 2, "0001": 6})
    found = pictured(runs, "fog")
    assert [each.place[1] for each in found] == ["0001", "0000"]
    assert found[0].off == pytest.approx(0)
    assert found[1].off == pytest.approx(4 / 9)
    assert [scene.key for scene in build_gallery(runs, SPACE)["fog"]] == ["0001", "0000"]


def test_an_image_without_a_score_is_not_shown_for_it(scored):
    values = [float("nan"), 1, 2, 3, 4, 5, 6, 7, 8]
    runs = scored([values, values], {"0000": 0, "0001": 8})
    assert [each.place[1] for each in pictured(runs, "fog")] == ["0001"]


def test_runs_of_before_show_their_first_image(make_run):
    folders = [make_run(method, 0.8, images=9) for method in ("soma", "full")]
    for folder in folders:
        (folder / "figures" / "samples.json").unlink()
    runs = [read_run(folder) for folder in folders]
    assert [each.place[1] for each in pictured(runs, "fog")] == ["0000", "0001"]
    assert choice_words(runs) == "Shown is the first image of each domain that has pictures."


def test_how_near_the_median_is_said(make_run):
    whole = [read_run(make_run(method, 0.8, images=2)) for method in ("soma", "full")]
    assert choice_words(whole).endswith(": neither the best nor the worst.")
    part = [read_run(make_run(method, 0.8, images=9)) for method in ("soma", "full")]
    assert " % of the judged images lie between." in choice_words(part)


def test_places_that_are_broken_are_named(make_run):
    from minorkey.errors import DataError

    folder = make_run("soma", 0.8)
    (folder / "figures" / "samples.json").write_text(json.dumps([1]))
    with pytest.raises(DataError, match=r"cannot read .*samples\.json.*run `minorkey evaluate` again"):
        read_run(folder)
