import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from boxed_runs import CAR, PERSON, SPACE, write_box_run
from PIL import Image

from minorkey.errors import DataError
from minorkey.reporting.gallery import build_gallery, classes_shown
from minorkey.reporting.page import build_report
from minorkey.reporting.runs import read_run
from minorkey.tasks.detection.box_matching import match_boxes
from minorkey.tasks.detection.matching import match_coco

CARS = [[0, 0, 20, 10], [40, 0, 60, 10], [80, 0, 100, 10]]


def boxes(*rows):
    return np.array(rows, np.float64).reshape(-1, 4)


def match(found, truth, crowd=None, classes=None, truth_classes=None):
    return match_boxes(
        boxes(*found),
        np.array(classes or [CAR] * len(found), np.int64),
        boxes(*truth),
        np.array(truth_classes or [CAR] * len(truth), np.int64),
        np.array(crowd if crowd is not None else [False] * len(truth), bool),
    )


def test_a_box_is_hit_once_and_by_the_surest() -> None:
    matches = match([[1, 0, 20, 10], [0, 0, 20, 10], [41, 0, 61, 10]], CARS)
    assert matches.hits.tolist() == [0, -1, 1]
    assert matches.missed.tolist() == [False, False, True]
    assert not matches.left_out.any()


def test_half_the_union_is_enough_and_the_class_must_be_right() -> None:
    assert match([[0, 0, 20, 5], [40, 0, 60, 4.9]], CARS).hits.tolist() == [0, -1]
    assert match([[0, 0, 20, 10]], CARS, classes=[PERSON]).hits.tolist() == [-1]


def test_a_crowd_takes_any_number_and_is_never_missed() -> None:
    matches = match([[0, 0, 5, 5], [6, 0, 12, 5], [15, 0, 30, 5]], CARS, crowd=[True, False, False])
    assert matches.hits.tolist() == [-1, -1, -1]
    assert matches.left_out.tolist() == [True, True, False], "a third of the last one lies in it"
    assert matches.missed.tolist() == [False, True, True]


def test_nothing_found_and_nothing_to_find() -> None:
    assert match([], CARS).missed.all()
    assert match(CARS, []).hits.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("seed", range(20))
def test_marks_agree_with_what_is_scored(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 30, (24, 2))
    every = np.concatenate([corners, corners + rng.uniform(8, 30, (24, 2))], axis=1)
    classes, crowd = rng.integers(0, 2, 24), rng.random(10) < 0.3
    found, truth = slice(10, None), slice(0, 10)
    matches = match_boxes(every[found], classes[found], every[truth], classes[truth], crowd)
    for kind in (0, 1):
        mine, theirs = classes[found] == kind, classes[truth] == kind
        outcome = match_coco(every[found][mine], every[truth][theirs], crowd[theirs], np.array([0.5]))
        assert (matches.hits[mine] >= 0).tolist() == outcome.hit[0].tolist()
        assert matches.left_out[mine].tolist() == outcome.left_out[0].tolist()


@pytest.fixture
def kept(tmp_path):
    """A run of which one image of each domain was kept, and a way to replace its boxes in the domain `clear`."""
    folder = write_box_run(tmp_path / "soma", "soma", 0.9, images=1)
    file = folder / "figures" / "samples" / "clear" / "0000" / "boxes.json"

    def write(truth, prediction):
        file.write_text(json.dumps({"truth": truth, "prediction": prediction}))
        return read_run(folder)

    return write


def car(box, **more):
    return {"box": box, "class": "car", **more}


def test_marks_of_a_scene(kept) -> None:
    truth = [car(box, crowd=crowd) for box, crowd in zip(CARS, (False, False, True), strict=True)]
    found = [
        car([0, 0, 20, 10], score=0.9), car([40, 30, 60, 40], score=0.6), car([81, 1, 90, 5], score=0.5),
        car([40, 0, 60, 10], score=0.29),
    ]  # fmt: skip
    scene = build_gallery([kept(truth, found)], SPACE)["clear"][0]
    assert [(mark.kind, mark.text) for mark in scene.truth] == [
        ("truth", "car"), ("truth", "car"), ("crowd", "car: does not count"),
    ]  # fmt: skip
    marks = {mark.kind: mark for mark in scene.predictions[0].marks}
    assert {kind: mark.text for kind, mark in marks.items()} == {
        "hit": "car 0.90: hit",
        "miss": "car: missed",
        "false": "car 0.60: false alarm",
        "uncounted": "car 0.50: does not count",
    }
    assert marks["false"].box == (40, 30, 20, 10)
    assert marks["miss"].box == (40, 0, 20, 10)
    assert marks["hit"].colour == "#{:02x}{:02x}{:02x}".format(*SPACE.colours[CAR])
    assert scene.size == (192, 96)


def test_small_boxes_lie_on_large_ones(kept) -> None:
    scene = build_gallery([kept([car([4, 4, 8, 8], crowd=False), car([0, 0, 90, 90], crowd=False)], [])], SPACE)[
        "clear"
    ]
    assert [mark.box[2] for mark in scene[0].truth] == [90, 4]


def test_legend_lists_what_is_there_and_what_is_predicted(kept) -> None:
    run = kept([car([0, 0, 9, 9], crowd=False)], [{"box": [0, 0, 9, 9], "class": "train", "score": 0.8}])
    assert {"car", "train"} <= {SPACE.classes[index] for index in classes_shown([run], SPACE)}


def test_a_run_without_the_sample_leaves_a_gap(tmp_path) -> None:
    runs = [read_run(write_box_run(tmp_path / name, name, 0.9, images=n)) for name, n in (("soma", 2), ("lora", 1))]
    scenes = build_gallery(runs, SPACE)["clear"]
    assert [prediction is None for prediction in scenes[1].predictions] == [False, True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "Expecting value: line 1"),
        ('{"truth": []}', "'prediction' is missing"),
        ('{"truth": [{"box": [0, 0, 1, 1], "class": "tram"}], "prediction": []}', ".+"),
        ('{"truth": [{"box": [0, 0, 1], "class": "car"}], "prediction": []}', ".+"),
    ],
)
def test_a_broken_file_is_named(text, reason, kept, tmp_path) -> None:
    run = kept([], [])
    (run.samples["clear", "0000"] / "boxes.json").write_text(text)
    with pytest.raises(
        DataError, match=rf"cannot read .*boxes\.json: {reason}.*run `minorkey evaluate` again"
    ) as caught:
        build_gallery([run], SPACE)
    assert "\n" not in str(caught.value)


class Elements(HTMLParser):
    """All elements with their attributes; tags must nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("boxed")
    folders = [write_box_run(root / name, name, quality) for name, quality in (("soma", 0.95), ("frozen", 0.5))]
    return build_report(folders, root / "report.html").read_text(encoding="utf-8"), folders


def test_page_shows_every_scene_from_one_copy_of_its_image(page) -> None:
    found = Elements(page[0]).found
    images = {attrs["id"]: attrs["href"] for tag, attrs in found if tag == "image" and "id" in attrs}
    assert len(images) == 4 * 2, "domains and scenes"
    assert all(address.startswith("data:image/jpeg;base64,") for address in images.values())
    used = [attrs["href"] for tag, attrs in found if tag == "use" and attrs.get("href", "").startswith("#scene")]
    assert sorted(used) == sorted(f"#{name}" for name in images for _ in range(2)), "two runs"


def test_page_counts_and_tells_kinds_apart_by_lines(page) -> None:
    text, folders = page
    runs = [read_run(folder) for folder in folders]
    marks = [
        mark
        for scenes in build_gallery(runs, SPACE).values()
        for scene in scenes
        for prediction in scene.predictions
        for mark in prediction.marks
    ]
    for kind in ("hit", "miss", "false"):
        number = sum(mark.kind == kind for mark in marks)
        assert number > 0
        assert text.count(f'class="mark {kind}"') == number + 1, "and one in the legend"
    crosses = sum(
        tag == "path" and attrs.get("d", "").startswith("M") and "m0 -" in attrs["d"]
        for tag, attrs in Elements(text).found
    )
    assert crosses == 2 * text.count('class="mark false"'), "edge and line"
    assert re.search(r"\.miss \.line \{[^}]*dasharray", text)
    assert re.search(r"\d found, \d missed, \d false<", text)


def test_page_speaks_of_detection(page) -> None:
    text, _ = page
    assert "minorkey · detection · cityscapes19" in text
    assert "Hits and errors" in text
    assert "Detections with a score of at least 0.3 are shown" in text
    assert "mIoU" not in text
    assert "labelled pixels" not in text


def test_the_picture_has_the_pixels_of_the_image(page) -> None:
    _, folders = page
    scene = build_gallery([read_run(folders[0])], SPACE)["night"][0]
    with Image.open(folders[0] / "figures" / "samples" / "night" / "0000" / "image.png") as image:
        assert scene.size == image.size
