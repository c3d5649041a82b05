"""Self-training of detectors: its losses against those of pseudo-boxes that are found again here."""

from dataclasses import replace

import pytest
import torch
from plain_vits import PLAIN_VITS
from students import COLOURS, STAGES, move

from minorkey.adapters import MethodOptions, attach
from minorkey.data.sample import Batch, Pair
from minorkey.models.build import backbone_of
from minorkey.models.options import HeadOptions
from minorkey.regimes.base import Setup
from minorkey.regimes.self_training.regime import SelfTraining
from minorkey.regimes.teachers import TeacherOptions
from minorkey.tasks.detection.detections import FoundBoxes
from minorkey.tasks.detection.labels import BoxLabels
from minorkey.tasks.detection.pseudo_labels import BoxSelfTrainingOptions
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.self_training import MaskingOptions

CLASSES, QUERIES = 3, 6
TASK = Detection()


def _regime(teacher: str = "ema", **options) -> SelfTraining:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pretrained = PLAIN_VITS["dinov2"]()
        pretrained.config.apply_layernorm = False
        pretrained.out_features = STAGES
        head = HeadOptions(name="rt_detr_v2", channels=32, queries=QUERIES, decoder_layers=2)
        model = Detection().build(pretrained, head, CLASSES, seed=0)
        attached = attach(backbone_of(model), MethodOptions(name="soma", rank=4, first_block=0))
    chosen = BoxSelfTrainingOptions(**options)
    named = TeacherOptions(name=teacher)
    setup = Setup(TASK, model.train(), attached, CLASSES, 4, options=chosen, teacher=named, colours=COLOURS)
    regime = SelfTraining(setup, SelfTraining.pretrained(setup))
    move([p for p in model.parameters() if p.requires_grad], seed=1)
    return regime


def _batch(seed: int, labelled: bool) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn(2, 2, 3, 64, 64, generator=generator)
    boxes = [torch.tensor([[4.0, 8.0, 30.0, 40.0], [20.0, 30.0, 60.0, 60.0]]), torch.zeros(0, 4)]
    classes = [torch.tensor([0, 2]), torch.zeros(0, dtype=torch.int64)]
    labels = BoxLabels(boxes, classes) if labelled else None
    filled = torch.ones_like(clean[:, 0], dtype=torch.bool)
    return Batch(clean + 0.3 * noise, labels, ["a"] * 2, ["0", "1"], clean=clean, filled=filled)


@pytest.fixture
def pair() -> Pair:
    return Pair(_batch(1, labelled=True), _batch(2, labelled=False))


def _losses(regime, pair) -> dict[str, torch.Tensor]:
    """Each group of losses from the same random state: denoising queries are drawn."""
    found, groups = {}, regime.losses(pair)
    for seed in range(2):
        torch.manual_seed(seed)
        found |= next(groups, {})
    return found


def _found(regime, images) -> FoundBoxes:
    with regime.teacher.installed() as network:
        return TASK.find(network, images, torch.ones_like(images[:, 0]).bool())


def _between(found: FoundBoxes) -> float:
    """A threshold that some boxes reach and others do not."""
    return float(found.scores.median()) + 1e-6


def test_boxes_end_where_an_image_does_and_not_where_it_is_filled_up(pair):
    regime, images = _regime(), pair.target.clean
    whole = _found(regime, images)
    filled = torch.ones_like(images[:, 0], dtype=torch.bool)
    filled[0, 40:], filled[0, :, 24:] = False, False
    with regime.teacher.installed() as network:
        found = TASK.find(network, images, filled)
    torch.testing.assert_close(found.boxes[0], whole.boxes[0].minimum(torch.tensor([24.0, 40, 24, 40])))
    sides = found.boxes[0, :, 2:] - found.boxes[0, :, :2]
    outside = (sides <= 0).any(dim=1)
    assert torch.equal(found.scores[0], whole.scores[0].where(~outside, 0.0))
    torch.testing.assert_close(found.boxes[1], whole.boxes[1])
    assert (whole.boxes[0] > found.boxes[0]).any()


@pytest.mark.parametrize("teacher", ["ema", "self", "adapter_ema"])
def test_the_target_loss_is_that_of_the_boxes_which_the_teacher_is_sure_of(pair, teacher):
    found = _found(_regime(teacher), pair.target.clean)
    threshold = _between(found)
    regime = _regime(teacher, threshold=threshold, weight=0.5)
    losses = _losses(regime, pair)
    sure = [[score >= threshold for score in scores] for scores in found.scores.tolist()]
    boxes = [image[chosen] for image, chosen in zip(found.boxes, sure, strict=True)]
    classes = [image[chosen] for image, chosen in zip(found.classes, sure, strict=True)]
    assert 0 < sum(map(len, boxes)) < 2 * QUERIES
    torch.manual_seed(1)
    expected = TASK.loss(regime.model, replace(pair.target, labels=BoxLabels(boxes, classes)))
    torch.testing.assert_close(losses["target"], 0.5 * sum(expected.values()))
    torch.manual_seed(0)
    source = TASK.loss(regime.model, pair.source)
    assert losses.keys() == {f"source_{name}" for name in source} | {"target"}
    for name, term in source.items():
        torch.testing.assert_close(losses[f"source_{name}"], term)


def test_the_teacher_sees_the_images_as_they_were_taken_and_the_student_does_not(pair):
    regime = _regime("ema", threshold=0.01)
    seen = []
    for network in (regime.model, regime.teacher.network):
        network.register_forward_pre_hook(
            lambda _module, _inputs, named, whose=network: seen.append((whose, named["pixel_values"])), with_kwargs=True
        )
    list(regime.losses(pair))
    (teacher, weak), (_, source), (student, strong) = seen
    assert teacher is regime.teacher.network
    assert student is regime.model
    assert torch.equal(weak, pair.target.clean)
    assert torch.equal(source, pair.source.pixel_values)
    assert torch.equal(strong, pair.target.pixel_values)


def test_patches_of_the_strong_view_are_hidden(pair):
    regime = _regime(threshold=0.01, masking=MaskingOptions(ratio=0.5, patch=16))
    seen = []
    regime.model.register_forward_pre_hook(
        lambda _module, _inputs, named: seen.append(named["pixel_values"]), with_kwargs=True
    )
    torch.manual_seed(0)
    list(regime.losses(pair))
    strong = seen[-1]
    hidden = (strong == 0).all(dim=1)
    assert 0.2 < hidden.float().mean() < 0.8
    assert torch.equal(strong, pair.target.pixel_values * ~hidden[:, None])


def test_a_warm_up_trains_on_the_source_alone(pair):
    regime = _regime(threshold=0.01, warmup=1)
    assert "target" not in _losses(regime, pair)
    assert regime.signals["confidence"] > 0
    regime.after_step(1)
    assert "target" in _losses(regime, pair)


def test_signals_by_hand(pair):
    found = _found(_regime(), pair.target.clean)
    best = [float(scores.max()) for scores in found.scores]
    threshold = sum(best) / 2  # one image reaches it
    regime = _regime(threshold=threshold)
    _losses(regime, pair)
    signals = regime.signals
    assert float(signals["confidence"]) == pytest.approx(sum(best) / 2)
    assert float(signals["kept"]) == 0.5
    pairs = zip(found.classes.flatten(), found.scores.flatten(), strict=True)
    names = [int(c) for c, score in pairs if score >= threshold]
    assert signals["pseudo_classes"].tolist() == pytest.approx([names.count(k) / len(names) for k in range(CLASSES)])
    assert signals["source_classes"].tolist() == [0.5, 0.0, 0.5]


def test_nothing_found_is_learnt_as_nothing(pair):
    losses = _losses(_regime(threshold=1.0), pair)
    assert torch.isfinite(losses["target"])
    assert losses["target"] > 0
