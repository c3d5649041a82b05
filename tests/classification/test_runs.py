"""Runs of the task from end to end, on images whose class is a colour."""

import csv
import json
import re
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

import minorkey
from minorkey.config import load_config, resolve
from minorkey.data.readers import open_datasets
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import ScoreTable
from minorkey.labels import label_space
from minorkey.runs.assemble import open_sources
from minorkey.runs.from_sources import with_classes
from minorkey.runs.leave_one_out import folds_of, leave_one_out
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder

RUN = {
    "task": "classification",
    "method": {"name": "soma", "rank": 4},
    "transform": {"crop": [32, 32], "photometric": False},
    "training": {
        "steps": 12, "batch_size": 6, "lr": 3e-2, "backbone_lr": 3e-3, "log_every": 4, "device": "cpu", "workers": 0,
    },
    "evaluation": {"pictures": 1},
}  # fmt: skip


@pytest.fixture
def config_for(class_folders, backbone_folder):
    def make(root=None, unseen="night", **changes):
        root = root or class_folders()
        sources = [f"{root}-{name}" for name in ("day", "dusk", "night") if name != unseen]
        domains = {"source": sources, "unseen": f"{root}-{unseen}", "backbone": str(backbone_folder)}
        return resolve(None, {**RUN, **domains, **changes})

    return make


@pytest.fixture
def trained(config_for, tmp_path, console):
    train(config_for(), tmp_path / "run", console=console)
    return tmp_path / "run"


def test_classes_of_domains_are_compared_as_names_are(class_folders, backbone_folder):
    root = class_folders()
    for name in ("apple", "leaf", "sky"):
        (root / "dusk" / name).rename(root / "dusk" / name.upper())
    domains = {"source": [f"{root}-day", f"{root}-dusk"], "unseen": f"{root}-night", "backbone": str(backbone_folder)}
    config = with_classes(resolve(None, {**RUN, **domains}))
    space = label_space(config.label_space)
    assert list(space.classes) == ["apple", "leaf", "sky"]
    for reader in open_sources(config, space).readers:
        assert sorted({reader[index].category for index in range(len(reader))}) == [0, 1, 2]


def test_a_run_names_its_classes_and_tells_them_apart(trained):
    config, scores = load_config(RunFolder(trained).config), ScoreTable.read(RunFolder(trained).metrics)
    assert config.label_space == "apple, leaf, sky"
    assert [(d.domain, d.role, d.images) for d in scores.domains] == [
        ("fruit-day", "source", 6), ("fruit-dusk", "source", 6), ("fruit-night", "unseen", 30),
    ]  # fmt: skip
    assert scores.metric.name == "accuracy"
    assert scores.unseen[0].score > 0.6
    assert list(scores.unseen[0].by_class) == ["apple", "leaf", "sky"]


def test_what_follows_a_run(trained, class_folders, tmp_path, command):
    scores = minorkey.evaluate(trained, evaluation={"metric": "balanced_accuracy", "flip": True})
    assert scores.metric.name == "balanced accuracy"
    night = tmp_path / "fruit" / "night"
    assert command("predict", trained, night, "--out", tmp_path / "said")[0] == 0
    with (tmp_path / "said" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    page = (tmp_path / "said" / "predictions.html").read_text()
    assert page.count("<figure>") == 30
    shown = re.findall(r"<h2>(.*)</h2>\n +<p class=\"lead\">(.*) images?</p>", page)
    assert shown == sorted((name, str(count)) for name, count in Counter(row["class"] for row in rows).items())
    assert all((tmp_path / "said" / file).is_file() for file in re.findall(r'src="(.*?)"', page))
    right = np.mean([row["file"].split("/")[0] == row["class"] for row in rows])
    before = ScoreTable.read(RunFolder(trained).metrics).unseen[0].score
    assert len(rows) == 30
    assert right == pytest.approx(before)
    page = minorkey.report(trained, out=tmp_path / "page.html").read_text()
    assert "fruit-night" in page
    assert "accuracy" in page
    assert page.count("data:image/jpeg") >= 2, "images with what they were taken for"
    corrupted = minorkey.evaluate(trained, unseen=f"{tmp_path / 'fruit'}-night+fog@2")
    assert corrupted.unseen[0].domain == "fruit-night+fog@2"
    assert command("spectrum", trained, "--out", tmp_path / "spectrum")[0] == 0
    assert command("data", "check", trained, "--out", tmp_path / "check")[0] == 0


def test_an_exported_classifier_needs_transformers_alone(trained, tmp_path):
    exported = minorkey.export_run(trained, "model", out=tmp_path / "model")
    model = AutoModelForImageClassification.from_pretrained(exported.folder).eval()
    processor = AutoImageProcessor.from_pretrained(exported.folder)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert type(model).__name__ == "Dinov2ForImageClassification"
    assert model.config.id2label == {0: "apple", 1: "leaf", 2: "sky"}
    with torch.no_grad():
        probabilities = model(**processor(image, return_tensors="pt")).logits.softmax(1)[0]
    ours = minorkey.load(trained).predict(image).probabilities
    np.testing.assert_allclose(probabilities.numpy(), ours, atol=1e-5)


@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_classifier_that_brings_images_to_a_size_is_written_for_no_other(trained, tmp_path, to):
    with pytest.raises(ConfigError, match=r"--size is 96x96, but this run brings every image to 32x32; leave it out"):
        minorkey.export_run(trained, to, out=tmp_path / "out", deploy=minorkey.DeployOptions(size=(96, 96)))
    assert not (tmp_path / "out").exists()


def test_a_classifier_adapts_to_a_target_without_labels(config_for, class_folders, tmp_path, console):
    root = class_folders()
    options = {"threshold": 0.4, "balance": "confidence", "masking": {"patch": 8}}
    config = config_for(root, regime="self_training", target=f"{root}-night", self_training=options)
    scores = train(config, tmp_path / "run", console=console)
    lines = [json.loads(line) for line in RunFolder(tmp_path / "run").log.read_text().splitlines()]
    assert {"kept", "confidence", "agreement"} <= set().union(*map(set, lines))
    assert scores.adaptation.targets == [f"{root}-night"]


def test_every_domain_is_left_out_once_and_finished_folds_are_not_run_again(config_for, tmp_path, console):
    config = config_for(training=RUN["training"] | {"steps": 2})
    folds = leave_one_out(config, tmp_path / "folds", console=console)
    assert [fold.unseen.domain for fold in folds] == ["fruit-day", "fruit-dusk", "fruit-night"]
    written = (tmp_path / "folds" / "leave_one_out.csv").read_text()
    assert len(written.splitlines()) == 4
    stamp = RunFolder(tmp_path / "folds" / "fruit-day").metrics.stat().st_mtime_ns
    (tmp_path / "folds" / "fruit-dusk" / "metrics.json").unlink()
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        leave_one_out(config, tmp_path / "folds", console=console)
    leave_one_out(config, tmp_path / "folds", resume=True, console=console)
    assert RunFolder(tmp_path / "folds" / "fruit-day").metrics.stat().st_mtime_ns == stamp
    assert (tmp_path / "folds" / "leave_one_out.csv").read_text() == written


def test_folds_of_a_whole_set(class_folders, backbone_folder):
    root = class_folders()
    config = resolve(None, {**RUN, "source": {"data": str(root), "weight": 1}, "backbone": str(backbone_folder)})
    folds = folds_of(config)
    assert [fold.domain for fold in folds] == ["fruit-day", "fruit-dusk", "fruit-night"]
    assert [[s.data for s in fold.config.source] for fold in folds][1] == [f"{root}-day", f"{root}-night"]
    assert folds[1].config.unseen == [f"{root}-dusk"]
    with pytest.raises(ConfigError, match="is one domain only; to leave one out, name two or more"):
        folds_of(resolve(None, {**RUN, "source": str(root / "day")}))


def test_folds_share_a_weight_and_keep_what_is_said_of_a_source(class_folders, backbone_folder):
    styles, other = class_folders(), class_folders("other", domains=["only"])
    source = [{"data": str(styles), "weight": 1, "fraction": 0.5}, {"data": f"{other}/only", "weight": 1}]
    config = resolve(None, {**RUN, "source": source, "unseen": [f"{styles}-day"], "backbone": str(backbone_folder)})
    *_, night, only = folds_of(config)
    assert [(s.weight, s.fraction) for s in only.config.source] == [(pytest.approx(1 / 3), 0.5)] * 3
    assert [s.weight for s in night.config.source] == [pytest.approx(1 / 3)] * 2 + [1]


def test_folds_of_a_folder_as_a_shell_completes_it(class_folders):
    root = class_folders()
    assert folds_of(resolve(None, {**RUN, "source": f"{root}/"}))[0].config.unseen == [f"{root}-day"]


def test_the_domain_that_is_left_out_is_not_judged_on_the_split_that_is_trained_on(class_folders):
    root = class_folders(domains=["day", "dusk"])
    (fold, _) = folds_of(resolve(None, {**RUN, "source": f"{root}:train"}))
    assert [source.data for source in fold.config.source] == [f"{root}-dusk:train"]
    assert fold.config.unseen == [f"{root}-day"]
    (reader,) = open_datasets(fold.config.unseen[0], role="unseen", label_space=None, annotation="category")
    assert reader.name == f"{root.name}-day:all"


@pytest.mark.parametrize(
    ("source", "unseen"),
    [
        (["{0}-day", "{0}-dusk"], ["{0}-day:val"]),
        (["{0}-day:train", "{0}-dusk"], ["{0}-day"]),
        (["{0}-day", "world"], ["world:clear"]),
    ],
)
def test_a_domain_is_not_left_out_and_trained_on_in_another_split(source, unseen, class_folders):
    root = class_folders(domains=["day", "dusk"])
    named = {key: [each.format(root) for each in specs] for key, specs in {"source": source, "unseen": unseen}.items()}
    with pytest.raises(ConfigError, match="are one domain, which would be left out and trained on; name a domain once"):
        folds_of(resolve(None, {**RUN, **named, "label_space": "apple, leaf, sky"}))


def test_two_domains_of_one_name_are_no_two_folds(class_folders, tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    roots = [class_folders("here/fruit", ["day"]), class_folders("there/fruit", ["day"])]
    with pytest.raises(ConfigError, match="two domains are called 'day'"):
        folds_of(resolve(None, {**RUN, "source": [str(root / "day") for root in roots]}))
