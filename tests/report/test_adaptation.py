import base64
import json
import re
import shutil
from io import BytesIO

import numpy as np
import pytest
from adaptation_files import ADVERSARIAL, adapt, write_config, write_snapshot
from PIL import Image
from streets import ROAD, SPACE

from minorkey.errors import DataError
from minorkey.reporting.adaptation.figures import class_figure
from minorkey.reporting.adaptation.log import loss_names, read_parts, series
from minorkey.reporting.adaptation.pictures import IMAGES, MOMENTS, WIDTH, build_timeline
from minorkey.reporting.adaptation.rows import (
    adaptation_rows,
    adaptation_views,
    adapted_runs,
    curve_figures,
)
from minorkey.reporting.adaptation.runs import compare_adapted, target_domains, target_notes
from minorkey.reporting.figures import run_colours
from minorkey.reporting.page import build_report, report
from minorkey.reporting.runs import read_run
from minorkey.reporting.tables import comparable


def loaded(*folders):
    runs = [read_run(folder) for folder in folders]
    return adapted_runs(runs, run_colours(runs))


@pytest.fixture
def source_only(make_run):
    folder = make_run("soma", 0.7, images=2)
    write_config(folder)
    return folder


@pytest.fixture
def adapted(make_run):
    return adapt(make_run("soma", 0.9, images=2))


def test_page_shows_how_a_run_adapted_and_what_it_gained(source_only, adapted, tmp_path):
    page = build_report([source_only, adapted], tmp_path / "page" / "report.html")
    text = page.read_text(encoding="utf-8")
    assert "trained on clear, adapted to night</h1>" in text
    assert "to those it is the target, not an unseen domain" in text
    assert text.index("What the models see") < text.index("<h2>Adaptation</h2>") < text.index("<h2>Classes in unseen")
    assert len(re.findall("<b>Teacher</b> step (?:100|200|300)<", text)) == 3 * 2
    assert len(re.findall("<b>Kept</b> [0-9]+ %", text)) == len(re.findall("<b>Student</b> agrees on", text)) == 2
    assert re.search(r"SoMA \(soma-.*\) against source-only SoMA \(soma-.*\) on night", text)
    assert "Collapse." not in text
    assert "<link" not in text
    assert (page.parent / "figures" / "adaptation-health.svg").is_file()
    assert (page.parent / "figures" / "adaptation-losses.png").is_file()


def test_page_without_a_target_has_no_such_section(source_only, tmp_path):
    text = build_report([source_only], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Adaptation" not in text
    assert "trained on; no other domain was." in text


def test_pictures_alone_make_the_section(adapted, tmp_path):
    (adapted / "log.jsonl").unlink()
    text = build_report([adapted], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h2>Adaptation</h2>" in text
    assert "adaptation-health" not in text


def test_a_collapse_is_said_in_words(make_run, tmp_path):
    folder = adapt(make_run("lora", 0.8, images=1), regime="transda", rounds=1, collapse_at=250, images=1)
    text = build_report([folder], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "“road” had swallowed the other classes among the pseudo-labels of LoRA at step 250 of the warm-up." in text
    assert "“road” had swallowed the other classes among the pseudo-labels of LoRA at step 250 of round 1." in text
    assert text.count("<b>Collapse.</b>") == 2


def test_rounds_are_consecutive_parts(make_run):
    parts = read_parts(
        read_run(adapt(make_run("lora", 0.8, images=1), regime="transda", rounds=10, steps=60, images=1))
    )
    assert [part.name for part in parts] == ["warm-up", *(f"round {number}" for number in range(1, 11))]
    assert [part.begin for part in parts] == list(range(0, 660, 60))
    steps = np.concatenate([part.curve("kept")[0] for part in parts])
    assert steps.tolist() == list(range(5, 661, 5))
    assert loss_names(parts) == list(ADVERSARIAL)
    assert series(parts, "pseudo_classes").shape == (11 * 12, len(SPACE))
    assert series(parts, "unheard_of").size == 0


def test_first_and_last_of_the_signals_stand_in_the_table(adapted):
    with (adapted / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 305, "loss": 1.0, "kept": 0.777}) + "\n")
        log.writelines(json.dumps({"step": 305, "skipped": f"{name}: broken"}) + "\n" for name in "aab")
    rows = dict(adaptation_rows(loaded(adapted)))
    assert (rows["Regime"], rows["Teacher"], rows["Target"]) == (["self-training"], ["adapter_ema"], ["night"])
    assert rows["Broken images skipped"] == ["2"]
    assert re.fullmatch(r"\d+\.\d → 77\.7 %", rows["Pixels kept"][0])


def test_curves_are_those_of_the_log(adapted):
    figures = curve_figures(loaded(adapted))
    health = {axes.get_title(): axes for axes in figures["adaptation-health"].axes}
    logged = [json.loads(line) for line in (adapted / "log.jsonl").read_text().splitlines()]
    drawn = health["student agrees with teacher"].lines[0].get_xydata()
    assert np.allclose(drawn, [(line["step"], 100 * line["agreement"]) for line in logged])
    losses = [axes.get_title() for axes in figures["adaptation-losses"].axes if axes.get_visible()]
    assert losses == ["source", "mixed", "masked"]


def test_bars_are_the_last_classes(make_run):
    parts = read_parts(read_run(adapt(make_run("lora", 0.8, images=1), collapse_at=200)))
    figure = class_figure(parts, SPACE, "pixels")
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    widths = dict(zip(names, (bar.get_width() for bar in axes.patches), strict=True))
    expected = series(parts, "pseudo_classes")[-6:].mean(axis=0)
    assert widths["road"] == pytest.approx(100 * expected[ROAD])
    assert widths["road"] > 80
    assert names == sorted(names, key=SPACE.classes.index)


def test_classes_of_another_space_are_not_drawn(adapted):
    parts = read_parts(read_run(adapted))
    for record in parts[0].log:
        record["pseudo_classes"] = [0.5, 0.5]
    assert class_figure(parts, SPACE, "pixels") is None


def test_few_of_many_moments_and_images_are_shown(adapted):
    shutil.rmtree(adapted / "figures" / "pseudo_labels")
    for step in range(10, 120, 10):
        write_snapshot(adapted, step, 0.9, images=IMAGES + 1)
    timeline = build_timeline(read_parts(read_run(adapted)), SPACE)
    assert len(timeline.moments) == MOMENTS
    assert (timeline.moments[0], timeline.moments[-1]) == ("step 10", "step 110")
    assert [strip.key for strip in timeline.strips] == ["0000", "0001", "0002", "0003"]


def test_strip_says_how_much_is_kept_and_agreed(adapted):
    place = adapted / "figures" / "pseudo_labels" / "step-0000300" / "night" / "0000"
    teacher, student, kept = (np.asarray(Image.open(place / f"{name}.png")) for name in ("teacher", "student", "kept"))
    strip = build_timeline(read_parts(read_run(adapted)), SPACE).strips[0]
    assert strip.kept_share == pytest.approx(100 * (kept == 255).mean())
    assert strip.agreement == pytest.approx(100 * (teacher == student).mean())
    assert 0 < strip.kept_share < 100


def test_pictures_are_small(adapted):
    strip = build_timeline(read_parts(read_run(adapted)), SPACE).strips[0]
    for uri in (strip.image, strip.kept, strip.student, *strip.teacher):
        assert Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).width == WIDTH


def test_keys_may_hold_slashes_and_a_step_may_lack_an_image(adapted):
    root = adapted / "figures" / "pseudo_labels"
    shutil.copytree(root / "step-0000300" / "night" / "0000", root / "step-0000300" / "night" / "a" / "b")
    timeline = build_timeline(read_parts(read_run(adapted)), SPACE)
    strip = next(strip for strip in timeline.strips if strip.key == "a/b")
    assert [picture is None for picture in strip.teacher] == [True, True, False]


def test_gains_are_the_differences_of_iou_sorted(source_only, adapted):
    runs = [read_run(source_only), read_run(adapted)]
    (comparison,) = compare_adapted(runs, {1: ["night"]})
    before, after = ({s.domain: s for s in run.scores.domains}["night"] for run in runs)
    expected = {name: 100 * (after.by_class[name] - iou) for name, iou in before.by_class.items() if iou is not None}
    assert {change.name: change.points for change in comparison.classes} == pytest.approx(expected)
    assert [change.name for change in comparison.classes] == sorted(expected, key=lambda name: -expected[name])
    assert (comparison.before, comparison.after) == (100 * before.score, 100 * after.score)
    assert comparison.difference.value == pytest.approx(after.score - before.score)
    assert comparison.difference.low <= comparison.difference.value <= comparison.difference.high


def test_a_run_is_set_beside_the_one_most_like_it(source_only, adapted, make_run):
    other = make_run("lora", 0.7, images=2)
    write_config(other)
    runs = [read_run(folder) for folder in (other, source_only, adapted)]
    assert compare_adapted(runs, {2: ["night"]})[0].source_only == 1
    assert compare_adapted(runs, {2: ["night"]})[0].same_method
    assert not compare_adapted([runs[0], runs[2]], {1: ["night"]})[0].same_method


def test_runs_of_other_backbones_protocols_or_images_are_not_compared(adapted, make_run):
    others = [
        make_run("soma", 0.7, images=2),
        make_run("soma", 0.7, images=2, resize=512),
        make_run("soma", 0.7, images=1),
    ]
    write_config(others[0], backbone={"name": "another"})
    for folder in others[1:]:
        write_config(folder)
    for folder in others:
        assert compare_adapted([read_run(folder), read_run(adapted)], {1: ["night"]}) == []


def test_the_weights_of_a_teacher_are_compared_with_last_weights(source_only, make_run):
    taught = adapt(make_run("lora", 0.8, images=2, weights="teacher"))
    assert len(compare_adapted([read_run(source_only), read_run(taught)], {1: ["night"]})) == 1
    assert comparable([read_run(source_only).scores, read_run(taught).scores]) == [True, True]
    oracle = adapt(make_run("lora", 0.8, images=2, weights="oracle"))
    assert compare_adapted([read_run(source_only), read_run(oracle)], {1: ["night"]}) == []


@pytest.mark.parametrize(
    ("data", "domains"),
    [
        ("world:night", ["night"]),
        ("world", ["clear"]),
        ({"data": "/somewhere/fog:train", "fraction": 0.5}, ["fog"]),
        ("rain+night@3", []),
        ("acdc", []),
    ],
)
def test_target_domains_from_the_config(make_run, data, domains):
    folder = make_run("soma", 0.9, images=1)
    write_config(folder, target=[data])
    assert target_domains(read_run(folder), []) == domains


def test_pictures_name_the_target_too(adapted):
    write_config(adapted, target=["/data/mine"])
    run = read_run(adapted)
    assert target_domains(run, read_parts(run)) == ["night"]


def test_notes_gather_runs_by_target(adapted, make_run):
    runs = [read_run(folder) for folder in (adapted, adapt(make_run("lora", 0.8, images=1)))]
    (note,) = target_notes(runs)
    assert note.startswith("Images of night, without labels, were seen in training by SoMA, LoRA; ")


def test_the_table_to_paste_says_so_too(adapted, source_only, tmp_path):
    text = report([source_only, adapted], tmp_path / "scores.md").read_text(encoding="utf-8")
    assert text.endswith("seen in training by SoMA (soma-0, 2); to those it is the target, not an unseen domain.\n")
    assert "target" not in report([source_only], tmp_path / "one.md").read_text(encoding="utf-8")


def test_error_texts(adapted):
    place = adapted / "figures" / "pseudo_labels" / "step-0000300" / "night" / "0000"
    Image.new("L", (5, 4)).save(place / "kept.png")
    with pytest.raises(DataError, match=r"the pictures in .*0000 differ in size; delete the folder"):
        adaptation_views(loaded(adapted), SPACE)
    (place / "kept.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read picture .*kept\.png"):
        adaptation_views(loaded(adapted), SPACE)
