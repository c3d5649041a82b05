import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Dinov2Backbone, Dinov2Config
from transformers.modeling_outputs import SemanticSegmenterOutput

from minorkey.data.sample import Batch
from minorkey.models.heads.segmentation.masks import mask_targets
from minorkey.models.options import HeadOptions
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.segmentation.task import Segmentation


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


@pytest.mark.parametrize(
    "protocol",
    [
        {},
        {"window": (8, 8), "stride": (5, 5)},
        {"window": (8, 8), "stride": (5, 5), "flip": True},
        {"window": (16, 8), "stride": (10, 5)},
        {"resize": 9, "flip": True},
        {"scales": (0.5, 1.0)},
    ],
)
@pytest.mark.parametrize("at_once", [2**28, 1])
def test_labels_are_the_likeliest_classes(images, protocol, at_once, monkeypatch):
    monkeypatch.setattr("minorkey.tasks.segmentation.class_scores.AT_ONCE", at_once)  # by bands of one row
    labels = torch.stack(Segmentation().start(Pointwise(), images, Protocol(label_space="x", **protocol), 3))
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, _predict(images, **protocol).argmax(1).to(torch.uint8))


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


@pytest.fixture(scope="module")
def mask_model():
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, patch_size=8, image_size=32,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    options = HeadOptions(name="mask2former", channels=32, queries=5, points=50, decoder_layers=2, encoder_layers=1)
    return Segmentation().build(Dinov2Backbone(config), options, num_labels=3, seed=0).eval()


@pytest.fixture
def photos():
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def _scores(model, images):
    """Class scores at the size of the images, by transformers' own post-processing without its argmax."""
    output = model(images)
    masks = F.interpolate(output.masks_queries_logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.einsum("bqc,bqhw->bchw", output.class_queries_logits.softmax(-1)[..., :-1], masks.sigmoid())


@torch.no_grad()
def test_mask_models_give_shares_of_the_scores(mask_model, photos):
    probabilities = Segmentation().predict(mask_model, photos, Protocol(label_space="x"))
    scores = _scores(mask_model, photos)
    torch.testing.assert_close(probabilities, scores / scores.sum(1, keepdim=True))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 48))


@torch.no_grad()
def test_windows_and_mirrored_images_of_mask_models_are_averaged_as_scores(mask_model, photos):
    protocol = Protocol(label_space="x", window=(32, 32), stride=(32, 16), flip=True)
    total = torch.zeros(2, 3, 32, 48)
    for images, turn in ((photos, lambda maps: maps), (photos.flip(-1), lambda maps: maps.flip(-1))):
        left, right = _scores(mask_model, images[..., :32]), _scores(mask_model, images[..., 16:])
        both = torch.cat([left[..., :16], (left[..., 16:] + right[..., :16]) / 2, right[..., 16:]], dim=-1)
        total += turn(both)
    expected = total / total.sum(1, keepdim=True)
    torch.testing.assert_close(Segmentation().predict(mask_model, photos, protocol), expected)


def test_terms_of_a_mask_models_loss_are_named_and_add_up(mask_model, photos):
    labels = torch.randint(0, 3, (2, 32, 48), generator=torch.Generator().manual_seed(1))
    labels[0, :20] = 255
    masks, classes = mask_targets(labels, 3)
    torch.manual_seed(2)
    expected = mask_model(photos, mask_labels=masks, class_labels=classes).loss
    torch.manual_seed(2)
    terms = Segmentation().loss(mask_model, Batch(photos, labels, ["a", "a"], ["0", "1"]))
    assert terms.keys() == {"loss_cross_entropy", "loss_mask", "loss_dice"}
    torch.testing.assert_close(sum(terms.values()), expected)
    assert not mask_model.criterion._forward_hooks
