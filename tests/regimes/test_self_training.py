"""The losses of self-training, each part a switch, computed again from what the network was given."""

from copy import deepcopy
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from students import CLASSES, Student, assert_same, make_student, move, random_pair
from torch import Tensor

from minorkey.data.sample import Batch, Pair
from minorkey.labels import IGNORE_INDEX
from minorkey.models.build import backbone_of
from minorkey.regimes.self_training.regime import SelfTraining
from minorkey.tasks.segmentation.pseudo_labels import PixelSelfTrainingOptions
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.tasks.self_training import MaskingOptions

THRESHOLD = 0.75
PIXELS = MaskingOptions(patch=8)


def _regime(student: Student, teacher: str = "ema", **changes) -> SelfTraining:
    options = PixelSelfTrainingOptions(**{"threshold": THRESHOLD, "masking": PIXELS, "distort": False} | changes)
    setup = student.setup(options, teacher)
    regime = SelfTraining(setup, SelfTraining.pretrained(setup))
    move(student.trained.values(), seed=1)
    return regime


def _losses(regime: SelfTraining, pair) -> dict[str, torch.Tensor]:
    """Each group of losses from the same random state, so that no part depends on what another draws."""
    found, groups = {}, regime.losses(pair)
    for seed in range(4):
        torch.manual_seed(seed)
        found |= next(groups, {})
    return found


def _watched(model) -> list[torch.Tensor]:
    """The images of every pass of the student, or of a teacher with a network of its own."""
    images: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _m, _a, kwargs: images.append(kwargs["pixel_values"]), with_kwargs=True)
    return images


def _loss_of(model, images, labels, weights) -> float:
    """Both heads' cross-entropies, pixel by pixel, weighted, over the number of labelled pixels."""
    features = model.backbone(images).feature_maps
    total = 0.0
    for head, share in ((model.decode_head, 1.0), (model.auxiliary_head, 0.4)):
        scores = F.interpolate(head(features), size=labels.shape[-2:], mode="bilinear", align_corners=False)
        log_p, places = scores.log_softmax(1), (labels != IGNORE_INDEX).nonzero().tolist()
        losses = [float(weights[b, y, x] * -log_p[b, labels[b, y, x], y, x]) for b, y, x in places]
        total += share * sum(losses) / len(places)
    return total


CHANGED = {
    "class_mix": ({"class_mix": False}, {"mixed"}),
    "patches": ({"masking": PIXELS.model_copy(update={"ratio": 0.5})}, {"masked"}),
    "tokens": ({"masking": MaskingOptions(hide="tokens")}, {"masked"}),
    "no masking": ({"masking": False}, {"masked"}),
    "distort": ({"distort": True}, {"mixed", "masked"}),
    "keep": ({"unsure": "keep"}, {"mixed", "masked"}),
    "drop": ({"unsure": "drop"}, {"mixed", "masked"}),
    "balance confidence": ({"balance": "confidence"}, {"mixed", "masked"}),
    "balance prior": ({"balance": "prior"}, {"mixed", "masked"}),
    "source distance": ({"feature_distance_source": 0.1}, {"feature_distance_source"}),
    "target distance": ({"feature_distance_target": 0.1}, {"feature_distance_target"}),
}


@pytest.fixture(scope="module")
def base_losses():
    return _losses(_regime(make_student()), random_pair())


@pytest.mark.parametrize("part", CHANGED)
def test_every_part_changes_its_own_losses_only(part, base_losses):
    changes, expected = CHANGED[part]
    found = _losses(_regime(make_student(), **changes), random_pair())
    assert base_losses.keys() == {"source", "source_auxiliary", "mixed", "masked"}
    names = base_losses.keys() | found.keys()
    missing = torch.tensor(torch.nan)
    changed = {n for n in names if not torch.equal(base_losses.get(n, missing), found.get(n, missing))}
    assert changed == expected
    assert all(torch.isfinite(loss) for loss in found.values())


@pytest.mark.parametrize("unsure", ["weigh", "drop", "keep"])
@pytest.mark.parametrize("class_mix", [True, False])
def test_mixed_and_masked_losses_by_hand(unsure, class_mix):
    student, pair = make_student(), random_pair()
    pair.target.filled[0, :, 24:] = False
    regime = _regime(student, unsure=unsure, class_mix=class_mix)
    reference = deepcopy(student.model)
    teacher = deepcopy(regime.teacher)
    taught, learnt = _watched(regime.teacher.network), _watched(student.model)
    found = _losses(regime, pair)
    assert torch.equal(taught[0], pair.target.clean), "pseudo-labels are those of the undistorted image"
    source_images, mixed, masked = learnt
    assert torch.equal(source_images, pair.source.pixel_values)
    with teacher.installed() as network:
        confidence, labels = Segmentation().probabilities(network, pair.target.clean).max(1)
    sure = confidence >= THRESHOLD
    assert 0.05 < sure.float().mean() < 0.95
    labels[~pair.target.filled] = IGNORE_INDEX
    weights = sure.float() if unsure == "drop" else torch.ones_like(confidence)
    if unsure == "weigh":
        shown = zip(sure, pair.target.filled, strict=True)
        weights[:] = torch.stack([image[filled].float().mean() for image, filled in shown])[:, None, None]

    pasted = (mixed == pair.source.clean).all(1)
    assert torch.equal(mixed, torch.where(pasted[:, None], pair.source.clean, pair.target.clean))
    for place, truth in zip(pasted, pair.source.labels, strict=True):
        classes = set(truth.unique().tolist()) - {IGNORE_INDEX}
        chosen = set(truth[place].unique().tolist())
        assert chosen <= classes
        assert len(chosen) == ((len(classes) + 1) // 2 if class_mix else 0)
        assert not any((truth[~place] == label).any() for label in chosen)
    mixed_labels = torch.where(pasted, pair.source.labels, labels)
    mixed_weights = torch.where(pasted, 1.0, weights)
    visible = (masked != 0).any(1)
    assert torch.equal(masked, pair.target.clean * visible[:, None])
    assert 0.3 < 1 - visible.float().mean() < 0.98
    with torch.no_grad():
        expected = _loss_of(reference, mixed, mixed_labels, mixed_weights)
        assert found["mixed"].item() == pytest.approx(expected, rel=1e-4)
        assert found["masked"].item() == pytest.approx(_loss_of(reference, masked, labels, weights), rel=1e-4)


@pytest.mark.parametrize("class_mix", [True, False])
def test_nothing_sure_is_no_loss(class_mix):
    """Early in a training hardly a pixel reaches the threshold; with `drop` there may then be none that counts."""
    student, pair = make_student(), random_pair()
    found = _losses(_regime(student, unsure="drop", threshold=1.0, class_mix=class_mix), pair)
    assert found["masked"].item() == 0
    assert (found["mixed"].item() == 0) == (not class_mix)
    (found["masked"] + found["mixed"]).backward()
    gradients = [p.grad for p in student.trained.values() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients) == class_mix


@pytest.mark.parametrize("unsure", ["weigh", "drop", "keep"])
def test_losses_do_not_depend_on_how_images_are_shared_out(unsure):
    """Batches of one image, averaged, make the losses of one batch of both, however sure either image is."""
    student, pair = make_student(head="semfpn"), random_pair()  # a head without batch norm, which does depend on it
    regime = _regime(student, unsure=unsure, class_mix=False, masking=None)
    parts, sure = [], []
    for place in range(2):
        parts.append(_losses(regime, _image(pair, place)))
        sure.append(float(regime.signals["kept"]))
    assert 0 < sure[1] < sure[0] < 1
    whole = _losses(regime, pair)
    assert {"source", "mixed"} <= whole.keys()
    for name, loss in whole.items():
        assert sum(part[name].item() for part in parts) / 2 == pytest.approx(loss.item(), rel=1e-5), name


def _image(pair: Pair, place: int) -> Pair:
    """A pair of one image of each."""

    def one(batch: Batch) -> Batch:
        parts = {field.name: getattr(batch, field.name) for field in fields(batch)}
        cut = {name: part[place : place + 1] for name, part in parts.items() if isinstance(part, Tensor | list)}
        return replace(batch, **cut)

    return Pair(one(pair.source), one(pair.target))


@pytest.mark.parametrize("part", ["source", "target"])
def test_feature_distance_by_hand(part):
    """1 - cosine to the pretrained features, position by position; the head is the identity at first."""
    student, pair = make_student("lora"), random_pair()
    untouched = backbone_of(make_student("frozen").model)
    regime = _regime(student, **{f"feature_distance_{part}": 0.3})
    reference, learnt = deepcopy(student.model), _watched(student.model)
    found = _losses(regime, pair)
    images = learnt[0] if part == "source" else learnt[2]  # the anchor's own pass is one of this network
    with torch.no_grad():
        ours, theirs = (b(images).feature_maps[-1].double() for b in (backbone_of(reference), untouched))
    cosines = (ours * theirs).sum(1) / (ours.norm(dim=1) * theirs.norm(dim=1))
    assert found[f"feature_distance_{part}"].item() == pytest.approx(0.3 * (1 - cosines.mean().item()), rel=1e-3)
    assert cosines.mean() < 0.999
    found[f"feature_distance_{part}"].backward()
    assert regime.feature_head.project.weight.grad.any()
    assert any(p.grad is not None and p.grad.any() for p in student.attached.trained_parameters().values())
    assert all(p.grad is None for p in student.model.decode_head.parameters())


def test_the_labels_of_a_target_batch_are_not_looked_at():
    pair, lying = random_pair(), random_pair()
    pair.target.labels[:] = IGNORE_INDEX
    assert not torch.equal(pair.target.labels, lying.target.labels)
    assert_same(_losses(_regime(make_student()), pair), _losses(_regime(make_student()), lying))


@pytest.mark.parametrize("unsure", ["weigh", "drop"])
def test_signals_leave_out_what_was_pasted_and_what_no_image_fills(unsure):
    """They are of all pseudo-labels, whatever happens to those that are not sure."""
    student, pair = make_student(), random_pair()
    pair.target.filled[1, 8:] = False
    regime = _regime(student, unsure=unsure)
    reference, teacher, learnt = deepcopy(student.model), deepcopy(regime.teacher), _watched(student.model)
    _losses(regime, pair)
    with teacher.installed() as network:
        confidence, taught = Segmentation().probabilities(network, pair.target.clean).max(1)
    shown = confidence[pair.target.filled]
    assert float(regime.signals["confidence"]) == pytest.approx(float(shown.mean()), rel=1e-5)
    assert float(regime.signals["kept"]) == pytest.approx(float((shown >= THRESHOLD).float().mean()))
    with torch.no_grad():
        said = Segmentation().probabilities(reference, learnt[1]).argmax(1)
    counted = ~(learnt[1] == pair.source.clean).all(1) & pair.target.filled
    assert counted.any()
    assert float(regime.signals["agreement"]) == pytest.approx(float((said == taught)[counted].float().mean()))
    shares = [float((taught[pair.target.filled] == k).float().mean()) for k in range(CLASSES)]
    assert regime.signals["pseudo_classes"].tolist() == pytest.approx(shares)


@pytest.mark.parametrize("head", ["mask2former"])
def test_mask_models_are_taught_as_well(head):
    student = make_student("lora", head=head)
    found = _losses(_regime(student, "adapter_ema", unsure="keep"), random_pair())
    masks = {"source_loss_cross_entropy", "source_loss_mask", "source_loss_dice"}
    assert found.keys() == masks | {"mixed", "masked"}
    sum(found.values()).backward()
    assert any(p.grad is not None and p.grad.any() for p in student.attached.trained_parameters().values())


@pytest.mark.parametrize("balance", ["confidence", "prior"])
def test_state_survives(balance):
    """Of the teacher, the anchor, the head of the feature distance and the balance."""
    parts = {"feature_distance_target": 0.1, "balance": balance}
    regime = _regime(make_student(), "adapter_ema", **parts)
    _losses(regime, random_pair())
    state = {name: value.detach().clone() for name, value in regime.state_dict().items()}
    assert {name.partition(".")[0] for name in state} == {"teacher", "anchor", "feature_head", "balance"}
    again = _regime(make_student(), "adapter_ema", **parts)
    move(again.feature_head.parameters(), seed=4)
    again.load_state_dict(state)
    assert_same(again.state_dict(), state)


def test_a_warm_up_trains_on_the_source_alone():
    """Its losses are those of later steps, and the teacher is watched from the first step on."""
    regime, pair = _regime(make_student(), warmup=2, feature_distance_target=0.1), random_pair()
    later = _losses(_regime(make_student(), feature_distance_target=0.1), pair)
    source = {name for name in later if name.startswith("source")}
    for step in (1, 2):
        found = _losses(regime, pair)
        assert found.keys() == source
        assert all(torch.equal(found[name], later[name]) for name in source)
        assert regime.signals.keys() == {"confidence", "kept", "pseudo_classes", "source_classes"}
        regime.after_step(step)
    assert {"mixed", "masked", "feature_distance_target"} <= _losses(regime, pair).keys()
    assert "agreement" in regime.signals
