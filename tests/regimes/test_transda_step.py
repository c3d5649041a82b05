"""The TransDA step against the formulas of arXiv 2203.07988, written out position by position."""

from copy import deepcopy
from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from students import CLASSES, Student, assert_same, make_student, move, random_pair, snapshot

from minorkey.labels import IGNORE_INDEX
from minorkey.models.build import backbone_of
from minorkey.regimes.transda.regime import Transda, TransdaOptions

ADVERSARIAL = 0.5


def _transda(student: Student, teacher, *, labelled: bool, **options) -> Transda:
    torch.manual_seed(3)
    chosen = TransdaOptions(adversarial=ADVERSARIAL, **options)
    regime = Transda(student.setup(chosen, labelled=labelled), {"teacher": teacher})
    for module in regime.modules().values():
        for parameter in module.parameters():
            parameter.data.normal_(std=0.1)
    return regime


def _groups(regime: Transda, pair) -> dict[str, torch.Tensor]:
    return {name: loss for group in regime.losses(pair) for name, loss in group.items()}


def _seen(model, images):
    """Features of stride 16 and the scores at the size of the images, by the model's own parts."""
    features = backbone_of(model)(images).feature_maps[2]
    logits = model(pixel_values=images).logits
    return features, F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def _convolved(state: dict, features):
    for place in (0, 2, 4):
        features = F.conv2d(features, state[f"{place}.weight"], state[f"{place}.bias"], padding=1)
        features = features if place == 4 else torch.where(features > 0, features, 0.2 * features)
    return features


def _softmax(scores):
    powers = [exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def _positions(logits, features) -> dict[tuple, list[float]]:
    """The class scores at every position of the feature maps."""
    small = F.interpolate(logits.detach(), size=features.shape[-2:], mode="bilinear", align_corners=False)
    batch, _, height, width = small.shape
    places = [(b, y, x) for b in range(batch) for y in range(height) for x in range(width)]
    return {(b, y, x): small[b, :, y, x].double().tolist() for b, y, x in places}


def _along(places: int, wanted: int) -> torch.Tensor:
    """Weights (wanted, places) of a linear resize that puts the first on the first and the last on the last."""
    weights = torch.zeros(wanted, places)
    for place in range(wanted):
        at = place * (places - 1) / (wanted - 1)
        left = min(int(at), places - 2)
        weights[place, left], weights[place, left + 1] = 1 - (at - left), at - left
    return weights


def _said(state: dict, features, size, class_wise: bool = False):
    """What a discriminator says where it is judged: probabilities of "source", or logits of a class-wise one."""
    values = _convolved(state, features)
    values = values if class_wise else torch.sigmoid(values)
    if size is None:
        return values
    rows, columns = _along(values.shape[2], size[0]), _along(values.shape[3], size[1])
    return torch.einsum("bchw,yh,xw->bcyx", values, rows, columns)


def _discrepancy(scores, domain, temperature: float, sign: int) -> dict[tuple, float]:
    """Sign * (H / log K - Dis), stretched to 0 ... 1 over the batch."""
    raw = {}
    for (b, y, x), values in scores.items():
        shares = _softmax([value / temperature for value in values])
        entropy = -sum(share * log(share) for share in shares)
        raw[b, y, x] = sign * (entropy / log(len(values)) - float(domain[b, 0, y, x]))
    low, high = min(raw.values()), max(raw.values())
    return {place: (value - low) / (high - low) for place, value in raw.items()}


def _domain_loss(prediction, to_source: bool, weights: dict, scores: dict, class_wise: bool):
    """The mean over the positions, a tensor with the graph of the prediction."""
    losses = []
    for (b, y, x), weight in weights.items():
        if not class_wise:
            says_source = prediction[b, 0, y, x]
            losses.append(-weight * torch.log(says_source if to_source else 1 - says_source))
            continue
        soft = [min(share, 0.9) for share in _softmax(scores[b, y, x])]
        aim = torch.tensor([0.0] * CLASSES + soft if to_source else soft + [0.0] * CLASSES)
        losses.append(-weight * (aim * torch.log(torch.softmax(prediction[b, :, y, x], 0))).sum())
    return torch.stack(losses).mean()


def _expected(
    student, taught_by, regime, pair, *, class_wise: bool, dynamic: bool, resolution: str
) -> dict[str, torch.Tensor]:
    """All losses. `taught_by` is the model that sees the target; the student is not shared with the regime."""
    with torch.no_grad():
        target, target_logits = _seen(taught_by, pair.target.pixel_values)
    source, source_logits = _seen(student.model, pair.source.pixel_values)
    D, Dis = snapshot(regime.discriminator), snapshot(regime.weighting)
    size = pair.source.pixel_values.shape[-2:] if resolution == "image" else None
    places = [source, target] if size is None else [pair.source.pixel_values, pair.target.pixel_values]
    p_s, p_t = _positions(source_logits, places[0]), _positions(target_logits, places[1])
    dis_source, dis_target = _said(Dis, source.detach(), size), _said(Dis, target, size)
    w_s, w_t = _discrepancy(p_s, dis_source, 10.0, 1), _discrepancy(p_t, dis_target, 1.0, -1)
    if not dynamic:
        w_s, w_t = dict.fromkeys(w_s, 1.0), dict.fromkeys(w_t, 1.0)
    flat = dict.fromkeys(w_s, 1.0)
    adversarial = _domain_loss(_said(D, source, size, class_wise), False, w_s, p_s, class_wise)
    of_source, of_target = (_said(D, features, size, class_wise) for features in (source.detach(), target))
    named = {name: getattr(pair, name) for name in ("source", "target")}
    supervised = {
        name: student.model(pixel_values=batch.pixel_values, labels=batch.labels).loss for name, batch in named.items()
    }
    return supervised | {
        "adversarial": ADVERSARIAL * adversarial,
        "discriminator": 0.5 * _domain_loss(of_source, True, w_s, p_s, class_wise)
        + 0.5 * _domain_loss(of_target, False, w_t, p_t, class_wise),
        "weighting": 0.5 * _domain_loss(dis_source, True, flat, p_s, False)
        + 0.5 * _domain_loss(dis_target, False, flat, p_t, False),
    }


@pytest.mark.parametrize(
    ("backbone", "labelled", "class_wise", "dynamic", "resolution"),
    [
        ("dinov2", False, False, True, "features"),
        ("dinov2", True, False, True, "features"),
        ("dinov2", False, True, True, "features"),
        ("dinov2", True, False, False, "features"),
        ("swin", True, False, True, "features"),
        ("swin", False, True, True, "features"),
        ("swin", True, False, True, "image"),
        ("dinov2", False, True, True, "image"),
        ("dinov2", False, False, False, "image"),
    ],
)
def test_losses_and_the_adversarial_gradient_are_those_of_the_formulas(
    backbone, labelled, class_wise, dynamic, resolution
):
    student = make_student("lora", backbone)
    momentum_network = deepcopy(student.model).eval()
    for module in momentum_network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
    chosen = {"class_wise": class_wise, "resolution": resolution}
    regime = _transda(student, student.teacher("ema"), labelled=labelled, dynamic_weights=dynamic, **chosen)
    move(student.trained.values(), seed=1)
    reference, pair = deepcopy(student), random_pair()
    found = _groups(regime, pair)
    expected = _expected(reference, momentum_network, regime, pair, dynamic=dynamic, **chosen)
    if not labelled:
        del expected["target"]
    found["source"] = found["source"] + found.pop("source_auxiliary")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=2e-5), name
    gradients = [
        torch.autograd.grad(loss["adversarial"], list(who.trained.values()), allow_unused=True)
        for who, loss in ((student, found), (reference, expected))
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7)


def _reached(loss, modules: dict[str, torch.nn.Module]) -> set[str]:
    """Names of the modules that a loss has a gradient for."""
    return {
        name
        for name, module in modules.items()
        for gradient in torch.autograd.grad(
            loss, [p for p in module.parameters() if p.requires_grad], allow_unused=True, retain_graph=True
        )
        if gradient is not None and gradient.any()
    }


@pytest.mark.parametrize("teacher", ["ema", "adapter_ema", "self", "base"])
@pytest.mark.parametrize("class_wise", [False, True])
def test_every_loss_reaches_its_own_weights_only(teacher, class_wise):
    student = make_student()
    regime = _transda(student, student.teacher(teacher), labelled=True, class_wise=class_wise)
    move(student.trained.values(), seed=1)
    model = student.model
    modules = {"backbone": backbone_of(model), "head": model.decode_head, **regime.modules()}
    reached = {name: _reached(loss, modules) for name, loss in _groups(regime, random_pair()).items()}
    assert reached == {
        "target": {"backbone", "head"},
        "source": {"backbone", "head"},
        "source_auxiliary": {"backbone"},
        "adversarial": {"backbone"},
        "discriminator": {"discriminator"},
        "weighting": {"weighting"},
    }


@pytest.mark.parametrize(
    ("teacher", "labelled", "passes"),
    [("self", True, 2), ("self", False, 2), ("adapter_ema", True, 3), ("adapter_ema", False, 2), ("ema", True, 3)],
)
def test_passes_of_a_step(teacher, labelled, passes):
    """With `self`, the student's pass over the target images is the teacher's as well."""
    student = make_student()
    regime = _transda(student, student.teacher(teacher), labelled=labelled)
    calls = []
    for network in {id(m): m for m in (student.model, regime.teacher.network)}.values():
        network.register_forward_hook(lambda *_: calls.append(1))
    list(regime.losses(random_pair()))
    assert len(calls) == passes


@pytest.mark.parametrize("labelled", [True, False])
def test_statistics_of_the_student_itself_as_the_teacher(labelled):
    """The student's are moved by source images alone, the teacher's by target images alone."""
    student, pair = make_student(), random_pair()
    by_source, by_target = (deepcopy(student.model) for _ in range(2))
    regime = _transda(student, student.teacher("self"), labelled=labelled)
    list(regime.losses(pair))
    by_source(pixel_values=pair.source.pixel_values)
    by_target(pixel_values=pair.target.pixel_values)
    statistics = {name for name in snapshot(student.model) if "running" in name or "tracked" in name}
    assert statistics
    expected = snapshot(by_target)
    assert_same(snapshot(student.model), snapshot(by_source))
    assert_same(regime.teacher.state_dict(), {name: expected[name] for name in statistics})


def test_statistics_of_the_student_where_they_are_shared():
    student, pair = make_student(), random_pair()
    reference = deepcopy(student.model)
    regime = _transda(student, student.teacher("self", buffers="student"), labelled=True)
    list(regime.losses(pair))
    for batch in (pair.target, pair.source):
        reference(pixel_values=batch.pixel_values)
    assert_same(snapshot(student.model), snapshot(reference))
    assert regime.teacher.state_dict() == {}


def test_signals_of_a_step():
    """Counted pixel by pixel; student and teacher are one here, but for their statistics."""
    student, pair = make_student(), random_pair()
    regime = _transda(student, student.teacher("ema"), labelled=True)
    taught = deepcopy(student.model)
    move(student.trained.values(), seed=1)
    list(regime.losses(pair))
    with torch.no_grad():
        teachers = _seen(taught, pair.target.pixel_values)[1].softmax(1).numpy()
        students = _seen(student.model, pair.target.pixel_values)[1].numpy()
    said, labels = teachers.argmax(1), pair.source.labels.numpy()
    signals = regime.signals
    assert float(signals["confidence"]) == pytest.approx(teachers.max(1).mean(), rel=1e-5)
    assert float(signals["kept"]) == pytest.approx((teachers.max(1) >= 0.968).mean())
    assert float(signals["agreement"]) == pytest.approx((said == students.argmax(1)).mean())
    assert signals["pseudo_classes"].tolist() == pytest.approx([(said == k).mean() for k in range(CLASSES)])
    shares = [(labels == k).sum() / (labels != IGNORE_INDEX).sum() for k in range(CLASSES)]
    assert np.allclose(signals["source_classes"], shares)
    assert not any(value.requires_grad for value in signals.values())


def test_nobody_is_agreed_with_before_there_are_pseudo_labels():
    student, pair = make_student(), random_pair()
    regime = _transda(student, student.teacher("ema"), labelled=False)
    list(regime.losses(pair))
    assert "confidence" in regime.signals
    assert "agreement" not in regime.signals


def test_state_survives(tmp_path):
    """Teacher, statistics and both discriminators; loading copies."""
    student = make_student()
    regime = _transda(student, student.teacher("adapter_ema"), labelled=True)
    list(regime.losses(random_pair()))
    state = {name: value.clone() for name, value in regime.state_dict().items()}
    assert {name.partition(".")[0] for name in state} == {"teacher", "discriminator", "weighting"}
    other = make_student()
    again = _transda(other, other.teacher("adapter_ema"), labelled=True)
    move(again.discriminator.parameters(), seed=5)
    again.load_state_dict(state)
    move(regime.discriminator.parameters(), seed=6)
    assert_same(again.state_dict(), state)
