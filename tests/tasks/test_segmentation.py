import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import SemanticSegmenterOutput

from minorkey.data.sample import Batch
from minorkey.evaluation.protocol import Protocol
from minorkey.tasks.segmentation import Segmentation


class Pointwise(nn.Module):
    """Logits are channels; a bias on the columns makes mirrored images differ."""

    def forward(self, pixel_values, labels=None):
        logits = pixel_values + torch.linspace(0, 1, pixel_values.shape[-1])
        loss = None if labels is None else F.cross_entropy(logits, labels, ignore_index=255)
        return SemanticSegmenterOutput(loss=loss, logits=logits)


@pytest.fixture
def images():
    return torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))


def _predict(images, **protocol):
    return Segmentation().predict(Pointwise(), images, Protocol(label_space="x", **protocol))


def test_loss_is_the_models_own(images):
    labels = torch.zeros(2, 12, 20, dtype=torch.int64)
    batch = Batch(images, labels, ["a", "a"], ["0", "1"])
    expected = F.cross_entropy(Pointwise()(images).logits, labels)
    assert torch.equal(Segmentation().loss(Pointwise(), batch)["segmentation"], expected)


def test_prediction_is_a_softmax(images):
    probabilities = _predict(images)
    torch.testing.assert_close(probabilities, Pointwise()(images).logits.softmax(1))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 12, 20))


def test_mirrored_images_are_averaged_as_probabilities(images):
    straight = Pointwise()(images).logits.softmax(1)
    mirrored = Pointwise()(images.flip(-1)).logits.flip(-1).softmax(1)
    torch.testing.assert_close(_predict(images, flip=True), (straight + mirrored) / 2)


def test_scales_are_averaged_at_the_size_of_the_image(images):
    views = []
    for height, width in ((6, 10), (12, 20), (24, 40)):
        scaled = F.interpolate(images, size=(height, width), mode="bilinear") if height != 12 else images
        logits = Pointwise()(scaled).logits
        views.append(F.interpolate(logits, size=(12, 20), mode="bilinear").softmax(1))
    torch.testing.assert_close(_predict(images, scales=(0.5, 1.0, 2.0)), sum(views) / 3)


def test_resize_sets_the_long_side(images):
    small = F.interpolate(images, size=(6, 10), mode="bilinear")
    expected = F.interpolate(Pointwise()(small).logits, size=(12, 20), mode="bilinear").softmax(1)
    torch.testing.assert_close(_predict(images, resize=10), expected)


def test_windows_cover_the_image(images):
    probabilities = _predict(images, window=(8, 8), stride=(4, 4))
    assert probabilities.shape == images.shape
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 12, 20))
