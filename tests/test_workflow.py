import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from minorkey.adapters.specs import METHODS
from minorkey.data.readers import open_datasets
from minorkey.errors import DataError
from minorkey.evaluation.evidence_files import read_evidence
from minorkey.evaluation.scores import ScoreTable
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.runs.evaluate import evaluate
from minorkey.runs.load import load
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder
from minorkey.tasks.segmentation.confusion import mean_iou


@pytest.fixture(scope="module")
def predictor(finished_run):
    return load(finished_run.path)


def _images(reader, count):
    return [reader[index].image for index in range(count)]


@pytest.fixture
def night(make_config):
    config = make_config()
    return open_datasets(
        "world:night", role="unseen", label_space=label_space(config.label_space), options=config.world
    )[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_to_scores(make_config, console, tmp_path, method):
    scores = train(make_config(method=method, training={"steps": 2}), tmp_path, console=console)
    assert [(score.domain, score.role) for score in scores.domains] == [("clear", "source"), ("night", "unseen")]
    assert scores.method == method
    folder = RunFolder(tmp_path)
    assert folder.adapter.is_dir() == (method not in ("full", "bias", "frozen"))
    assert folder.backbone.is_file() == (method in ("full", "bias"))
    assert ScoreTable.read(folder.metrics) == scores


def test_methods_see_the_same_batches_and_start_from_the_same_head(make_config, console, tmp_path):
    """The first loss is that of the pretrained network, whatever is adapted."""
    first = set()
    for method in ("soma", "lora", "full", "frozen"):
        config = make_config(method=method, training={"steps": 1}, unseen=[])
        train(config, tmp_path / method, console=console)
        first.add(json.loads((tmp_path / method / "log.jsonl").read_text().splitlines()[0])["loss"])
    assert max(first) - min(first) < 1e-5


def test_scores_are_those_of_the_saved_confusions(finished_run):
    scores = ScoreTable.read(finished_run.metrics)
    for name, evidence in read_evidence(finished_run, scores.protocol, 19).items():
        (domain,) = (score for score in scores.domains if score.domain == name)
        assert evidence.shape == (4, 19)
        assert domain.score == pytest.approx(mean_iou(evidence.matrices.sum(0)))


def test_scores_are_those_of_the_loaded_model(finished_run, predictor, night):
    protocol = ScoreTable.read(finished_run.metrics).protocol
    confusions = read_evidence(finished_run, protocol, 19)["night"].matrices
    for index, image in enumerate(_images(night, 4)):
        prediction = predictor.predict(image).labels
        counted = night[index].labels != 255
        hits = (prediction == night[index].labels)[counted].sum()
        assert np.trace(confusions[index]) == hits


def test_evaluating_again_gives_the_same(finished_run, console, tmp_path):
    again = evaluate(finished_run.path, out=tmp_path, console=console)
    assert again == ScoreTable.read(finished_run.metrics)
    before, after = (
        load_file(finished_run.path / "confusions.safetensors"),
        load_file(tmp_path / "confusions.safetensors"),
    )
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_loaded_model_is_an_ordinary_one(predictor, make_config):
    inside = predictor.model.backbone.backbone
    expected = load_backbone(make_config().backbone).network
    assert type(inside) is type(expected)
    assert inside.state_dict().keys() == expected.state_dict().keys()
    assert not any(parameter.requires_grad for parameter in predictor.model.parameters())
    assert not predictor.model.training


def test_trained_and_total_parameters_are_counted(finished_run, predictor):
    cost = ScoreTable.read(finished_run.metrics).training
    assert cost.total_parameters == sum(parameter.numel() for parameter in predictor.model.parameters())
    adapter = load_file(finished_run.adapter / "adapter_model.safetensors")
    head = load_file(finished_run.head)
    factors = sum(t.numel() for name, t in adapter.items() if "lora_" in name) // 2  # saved with rank 2r
    biases = sum(t.numel() for name, t in adapter.items() if "lora_" not in name)
    assert cost.trained_parameters == factors + biases + sum(t.numel() for t in head.values())
    assert (cost.steps, cost.seed, cost.learning_rate, cost.device) == (4, 0, 1e-3, "cpu")


def test_predicts_files_images_arrays_and_lists(predictor, night, tmp_path):
    image = night[0].image
    Image.fromarray(image).save(tmp_path / "image.png")
    expected = predictor.predict(image)
    assert expected.labels.shape == image.shape[:2]
    assert expected.probabilities is None
    forms = [tmp_path / "image.png", str(tmp_path / "image.png"), Image.fromarray(image)]
    assert all(np.array_equal(found.labels, expected.labels) for found in predictor.predict(forms))
    grey = predictor.predict(image[..., 0]).labels
    assert np.array_equal(grey, predictor.predict(np.repeat(image[..., :1], 3, axis=2)).labels)


def test_probabilities_on_request(predictor, night):
    found = predictor.predict(night[0].image, probabilities=True)
    assert found.probabilities.shape == (19, 32, 64)
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(found.probabilities.argmax(0), found.labels)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros(3, np.uint8)])
def test_other_arrays_are_refused(predictor, array):
    with pytest.raises(DataError, match=r"got an array of shape .* expected \(H, W, 3\) uint8 RGB"):
        predictor.predict(array)


def test_folders_without_a_finished_training(finished_run, tmp_path):
    with pytest.raises(DataError, match="no run in .*give the --out folder of a training"):
        load(tmp_path)
    (tmp_path / "config.yaml").write_bytes(finished_run.config.read_bytes())
    with pytest.raises(DataError, match="has not ended; run `minorkey train --resume"):
        load(tmp_path)


def test_source_without_validation_images_is_said(make_config, street_folder, console, tmp_path):
    streets = street_folder()
    for kind in ("images", "labels"):
        shutil.rmtree(streets / kind / "val")
    config = make_config(source=str(streets), training={"steps": 1})
    scores = train(config, tmp_path / "run", console=console)
    assert [score.domain for score in scores.domains] == ["night"]
    assert "is not judged: " in console.file.getvalue()


def test_half_of_a_validation_split_is_refused_before_the_training(make_config, street_folder, console, tmp_path):
    streets = street_folder()
    shutil.rmtree(streets / "labels" / "val")
    with pytest.raises(DataError, match="of split 'val' without a label"):
        train(make_config(source=str(streets)), tmp_path / "run", console=console)


def test_images_that_are_trained_and_judged_on_are_said(make_config, street_folder, console, tmp_path):
    streets = street_folder()
    for kind in ("images", "labels"):
        shutil.rmtree(streets / kind / "val")
    text = "ids: {0: road, 1: car}\nimages: images/{key}.png\nlabels: labels/{key}.png\n"
    (streets / "dataset.yaml").write_text(text)
    train(make_config(source=str(streets), training={"steps": 1}), tmp_path / "run", console=console)
    assert f"warning: 4 of 4 images of {streets}:val are trained on, as those of" in console.file.getvalue()
