"""The task's own parts, held to formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput

from minorkey.config import resolve
from minorkey.data.sample import Batch, Sample
from minorkey.data.transforms import TransformConfig, to_tensor
from minorkey.errors import ConfigError
from minorkey.evaluation.bootstrap import score_interval
from minorkey.labels import label_space
from minorkey.tasks.classification.crops import ASPECT, random_box
from minorkey.tasks.classification.evidence import CategoryEvidence
from minorkey.tasks.classification.prediction import CategoryPrediction
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.table import task_named

TASK = task_named("classification")
SPACE = label_space("apple, leaf, sky")


def evidence(truth, predicted, balanced=False):
    return CategoryEvidence(np.array(truth, np.int32), np.array(predicted, np.int32), 3, balanced)


def test_accuracy_counts_images_and_balanced_accuracy_classes():
    truth, predicted = [0, 0, 0, 1], [0, 0, 2, 1]
    assert evidence(truth, predicted).score() == 0.75
    assert evidence(truth, predicted, balanced=True).score() == pytest.approx((2 / 3 + 1) / 2)
    np.testing.assert_allclose(evidence(truth, predicted).by_class(), [2 / 3, 1, np.nan])
    np.testing.assert_allclose(evidence(truth, predicted).class_details()["precision"], [1, 1, 0])
    assert evidence(truth, predicted).details() == {"balanced accuracy": pytest.approx(5 / 6)}


@pytest.mark.parametrize("balanced", [False, True])
def test_a_resample_is_scored_as_if_its_images_were_all_there_are(balanced):
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    draws = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    scores = evidence(truth, predicted, balanced).scores(draws)
    again = [evidence(np.repeat(truth, counts), np.repeat(predicted, counts), balanced).score() for counts in draws]
    np.testing.assert_allclose(scores, again)


def test_an_interval_holds_the_score_and_other_classes_can_be_left_out():
    rng = np.random.default_rng(1)
    kept = evidence(truth := rng.integers(0, 3, 200), np.where(rng.random(200) < 0.8, truth, 0))
    low, high = score_interval(kept)
    assert low < kept.score() < high
    only = kept.only(np.array([True, False, False]))
    assert (only.score(), only.shape) == (1.0, (200, 3))
    restored = CategoryEvidence.restored(kept.stored("a/b"), 3, balanced=False)
    np.testing.assert_array_equal(restored["a/b"].truth, kept.truth)


def test_a_crop_covers_the_share_that_is_asked_for_and_keeps_the_class():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x0, y0, x1, y1 = random_box((90, 120), (0.3, 0.5), rng)
        assert 0 <= x0 < x1 <= 120
        assert 0 <= y0 < y1 <= 90
        assert 0.28 < (x1 - x0) * (y1 - y0) / (90 * 120) < 0.52
        assert 0.98 * ASPECT[0] < (x1 - x0) / (y1 - y0) < 1.02 * ASPECT[1]
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    crop = TASK.crop(Sample(image, "d", "k", category=2), TransformConfig(crop=(32, 48), grey=1.0), rng)
    assert (crop.image.shape, crop.category) == ((32, 48, 3), 2)
    assert (crop.image[..., 0] == crop.image[..., 2]).all()


def test_a_crop_of_all_of_an_image_is_that_image():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    config = TransformConfig(crop=(20, 20), crop_area=(1.0, 1.0), flip=0.0)
    found = [TASK.crop(Sample(image, "d", "k"), config, np.random.default_rng(seed)).image for seed in range(20)]
    assert any(np.array_equal(one, image) for one in found)


class Flat(nn.Module):
    """Logits are means of the channels; losses as those of `PooledForImageClassification`."""

    def __init__(self, mixup: float = 0.0) -> None:
        super().__init__()
        self.config = type("Config", (), {"mixup": mixup})()

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=pixel_values.mean(dim=(2, 3)))

    def losses(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")


def batch(count: int = 4) -> Batch:
    images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(count) % 3, ["d"] * count, ["k"] * count)


def test_the_loss_is_a_mean_over_images_each_times_its_weight():
    given, weights = batch(), torch.tensor([1.0, 0.0, 0.5, 1.0])
    each = F.cross_entropy(given.pixel_values.mean(dim=(2, 3)), given.labels, reduction="none")
    assert TASK.loss(Flat(), given)["classification"].item() == pytest.approx(each.mean().item())
    assert TASK.loss(Flat(), given, weights)["classification"].item() == pytest.approx((each * weights).mean().item())
    assert TASK.counts(Flat(), given.labels).elements == 4


def test_mixup_blends_images_and_their_losses_in_training_alone():
    given, model = batch(), Flat(mixup=0.4)
    torch.manual_seed(3)
    loss = TASK.loss(model.train(), given)["classification"]
    torch.manual_seed(3)
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    share, order = max(share, 1 - share), torch.randperm(4)
    logits = (share * given.pixel_values + (1 - share) * given.pixel_values[order]).mean(dim=(2, 3))
    target = share * F.one_hot(given.labels, 3) + (1 - share) * F.one_hot(given.labels[order], 3)
    assert loss.item() == pytest.approx(-(target * logits.log_softmax(1)).sum(1).mean().item())
    assert torch.equal(TASK.loss(model.eval(), given)["classification"], TASK.loss(Flat(), given)["classification"])


def test_images_of_all_sizes_are_brought_to_one_and_share_passes():
    protocol, passes = Protocol(label_space="x", metric="accuracy", input_size=(8, 8)), []
    model = Flat()
    model.register_parameter("at", nn.Parameter(torch.zeros(())))  # says where the model is
    model.register_forward_pre_hook(
        lambda model, args, kwargs: passes.append(tuple(kwargs["pixel_values"].shape)), with_kwargs=True
    )
    predictor = Predictor(model, SPACE, protocol, (0.0,) * 3, (1.0,) * 3, window_batch=2, task=TASK)
    sizes = [(40, 24), (8, 8), (9, 30)]
    images = [np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    found = [prediction.probabilities for _, prediction in predictor.map(images)]
    assert passes == [(2, 3, 8, 8), (1, 3, 8, 8)]
    assert predictor.at_once((20_000, 20_000)) == 1, "two of these fill the memory"
    for image, probabilities in zip(images, found, strict=True):
        resized = F.interpolate(
            to_tensor(image, (0.0,) * 3, (1.0,) * 3)[None], size=(8, 8), mode="bilinear", antialias=True
        )
        assert probabilities == pytest.approx(resized.mean(dim=(2, 3)).softmax(1)[0].numpy())


def test_mirrored_images_are_averaged():
    protocol, model = Protocol(label_space="x", metric="accuracy", input_size=(8, 8)), Flat()
    images = batch(2).pixel_values
    assert torch.equal(TASK.predict(model, images, protocol), images.mean(dim=(2, 3)).softmax(1))
    flipped = TASK.predict(model, images, protocol.model_copy(update={"flip": True}), window_batch=1)
    assert torch.allclose(flipped, images.mean(dim=(2, 3)).softmax(1), atol=1e-6)
    assert "images at 8x8" in protocol.describe()
    assert "window" not in protocol.describe()


def test_a_prediction_names_its_class_and_is_written(tmp_path):
    shown = np.zeros((50, 60, 3), np.uint8)
    predictions = [
        CategoryPrediction(np.array(values, np.float32), shown, SPACE)
        for values in ([0.2, 0.7, 0.1], [0.5, 0.25, 0.25])
    ]
    assert [(one.name, round(one.confidence, 2)) for one in predictions] == [("leaf", 0.7), ("apple", 0.5)]
    assert np.asarray(predictions[0].draw()).any()
    for place, one in enumerate(predictions):
        one.save(tmp_path / f"{place}.json")
    CategoryPrediction.summarise({f"{i}.jpg": tmp_path / f"{i}.json" for i in range(2)}, tmp_path / "all")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines == [
        "file,class,confidence,apple,leaf,sky",
        "0.jpg,leaf,0.7,0.2,0.7,0.1",
        "1.jpg,apple,0.5,0.5,0.25,0.25",
    ]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"evaluation": {"window": [8, 8]}}, "evaluation.window is not for classification"),
        ({"evaluation": {"resize": 64}}, "evaluation.resize is not for classification"),
        ({"evaluation": {"scales": [1.0, 2.0]}}, "evaluation.scales is not for classification"),
        ({"head": "semfpn"}, "head semfpn does not do classification"),
        ({"training": {"rare_classes": 0.1}}, "counts labelled pixels"),
        ({"regime": "transda", "target": ["x"]}, "regime transda is for segmentation"),
        ({"evaluation": {"metric": "miou"}}, "miou"),
    ],
)
def test_what_belongs_to_other_tasks_is_refused(section, message):
    with pytest.raises(ConfigError, match=message):
        resolve(None, {"task": "classification", "source": "x", **section})


def test_unlabelled_images_are_not_judged():
    metric = TASK.metric("accuracy")
    evaluator = metric.evaluator(3, Protocol(label_space="x", metric="accuracy"))
    with pytest.raises(Exception, match="d/k has no class; only labelled images can be judged on"):
        evaluator.note(Sample(np.zeros((2, 2, 3), np.uint8), "d", "k"), lambda: None)


def test_records_count_an_image_of_its_class():
    sample = Sample(np.zeros((4, 6, 3), np.uint8), "d", "k", category=1)
    record = TASK.record(sample, 3)
    assert (record.counts, record.size) == ((0, 1, 0), (6, 4))
    assert TASK.record(replace(sample, category=None), 3).counts is None
    assert TASK.label_text(sample, SPACE) == "leaf"
