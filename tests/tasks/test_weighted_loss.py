"""The loss with a weight for every pixel."""

import pytest
import torch
import torch.nn.functional as F
from accelerate.utils import convert_outputs_to_fp32
from plain_vits import PLAIN_VITS

from minorkey.data.sample import Batch
from minorkey.labels import IGNORE_INDEX
from minorkey.models.heads.segmentation.masks import mask_targets
from minorkey.models.options import HeadOptions
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.tasks.segmentation.task import Segmentation

SMALL = {"channels": 32, "queries": 5, "points": 50, "decoder_layers": 1, "encoder_layers": 1}


def _model(head):
    backbone = PLAIN_VITS["dinov2"]()
    backbone.out_features = ["stage1", "stage2", "stage3", "stage4"]
    return Segmentation().build(backbone, HeadOptions(name=head, **SMALL), num_labels=3, seed=0).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 32, 32), generator=generator)
    labels[0, :5], labels[1, :, 20:] = IGNORE_INDEX, IGNORE_INDEX
    return Batch(torch.randn(2, 3, 32, 32, generator=generator), labels, ["a", "a"], ["0", "1"])


@pytest.fixture
def weights():
    return torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_pixel_that_no_mask_claims_is_of_no_class():
    """The scores of all classes are 0 there; divided by their sum they would be NaN, and so would TransDA's weights."""
    model = _model("mask2former")
    claims = torch.full((2, 5, 8, 8), -200.0)
    claims[..., :4] = 0

    def output(_model, _inputs, result):
        result.masks_queries_logits = claims
        return result

    model.register_forward_hook(output)
    with torch.no_grad():
        found = Segmentation().probabilities(model, torch.randn(2, 3, 32, 32))
    assert torch.isfinite(found).all()
    assert (found[..., -8:] == 0).all()
    torch.testing.assert_close(found[..., :8].sum(1), torch.ones(2, 32, 8))


def test_without_weights_it_is_the_models_own_loss(batch):
    """That of transformers' UperNet, with the auxiliary head."""
    model = _model("upernet")
    terms = Segmentation().loss(model, batch)
    expected = model(pixel_values=batch.pixel_values, labels=batch.labels).loss
    assert terms.keys() == {"segmentation", "auxiliary"}
    torch.testing.assert_close(terms["segmentation"] + terms["auxiliary"], expected)
    assert not model.auxiliary_head._forward_hooks
    assert not model._forward_hooks


def test_the_auxiliary_loss_is_not_computed_in_half_precision(batch):
    model, seen = _model("upernet"), []
    model.pixel_loss = lambda logits, labels, weights: seen.append(logits.dtype) or {"all": logits.mean()}
    accelerated = convert_outputs_to_fp32(torch.autocast("cpu", torch.bfloat16)(model.forward))
    model.forward = accelerated
    Segmentation().loss(model, batch)
    assert seen == [torch.float32] * 2


def test_weights_count_pixel_by_pixel_in_both_heads(batch, weights):
    model = _model("upernet")
    terms, read = Segmentation().loss_and_probabilities(model, batch, weights)
    features = model.backbone(batch.pixel_values).feature_maps
    for name, head, share in (("segmentation", model.decode_head, 1.0), ("auxiliary", model.auxiliary_head, 0.4)):
        scores = F.interpolate(head(features), size=(32, 32), mode="bilinear", align_corners=False)
        places = (batch.labels != IGNORE_INDEX).nonzero().tolist()
        log_p = scores.log_softmax(1)
        losses = [float(weights[b, y, x] * -log_p[b, batch.labels[b, y, x], y, x].detach()) for b, y, x in places]
        assert terms[name].item() == pytest.approx(share * sum(losses) / len(places), rel=1e-5)
        if name == "segmentation":
            torch.testing.assert_close(read(), scores.softmax(1).detach())


@pytest.mark.parametrize("head", ["mask2former", "eomt"])
def test_a_mask_models_terms_are_multiplied_by_the_mean_weight(head, batch, weights):
    model = _model(head)
    torch.manual_seed(2)
    expected = Segmentation().loss(model, batch)
    torch.manual_seed(2)
    found, read = Segmentation().loss_and_probabilities(model, batch, weights)
    mean = weights[batch.labels != IGNORE_INDEX].mean()
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term * mean)
    with torch.no_grad():
        torch.testing.assert_close(read(), Segmentation().probabilities(model, batch.pixel_values))
        torch.testing.assert_close(read().sum(1), torch.ones(2, 32, 32))


@pytest.mark.parametrize("head", ["upernet", "mask2former"])
def test_reading_a_pass_has_no_graph(head, batch):
    assert not Segmentation().loss_and_probabilities(_model(head), batch)[1]().requires_grad


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("head", SEGMENTATION_HEADS.shipped)
def test_nothing_labelled_is_a_loss_of_zero_without_gradient(head, weighted, batch, weights):
    batch.labels[:] = IGNORE_INDEX
    model = _model(head)
    loss = sum(Segmentation().loss(model, batch, weights if weighted else None).values())
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())
    assert Segmentation().counts(model, batch.labels).elements == 0


@pytest.mark.parametrize("head", ["linear", "semfpn", "segformer"])
def test_our_own_models_say_the_same_of_their_loss(head, batch):
    model = _model(head)
    asked = {"pixel_values": batch.pixel_values, "labels": batch.labels}
    torch.testing.assert_close(model(**asked).loss, Segmentation().loss(model, batch)["segmentation"])
    batch.labels[:] = IGNORE_INDEX
    assert model(**asked).loss.item() == 0


@pytest.mark.parametrize("head", ["mask2former", "eomt"])
def test_queries_of_an_image_without_labels_learn_no_class(head, batch):
    """So that the loss of two batches, of which one has no labels, is the same as that of both in one."""
    model, labels = _model(head), batch.labels.clone()
    labels[1] = IGNORE_INDEX
    logits = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(3), requires_grad=True)
    masks, classes = mask_targets(labels, 3)
    layers = [(torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(4)), logits[0])]
    torch.manual_seed(5)
    both = model.criterion.terms(layers, masks, classes)["loss_cross_entropy"]
    (gradient,) = torch.autograd.grad(both, logits)
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, 0] != 0).any()
    counts = [Segmentation().counts(model, part).elements for part in (labels, labels[:1], labels[1:])]
    assert counts[0] == counts[1] > counts[2] == 0
