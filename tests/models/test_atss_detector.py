import itertools

import pytest
import torch
from atss_reference import anchors, area, common, decoded, sigmoid
from transformers.image_transforms import center_to_corners_format

from minorkey.data.readers import WorldOptions, open_datasets
from minorkey.errors import ModelError
from minorkey.labels import label_space
from minorkey.models.backbone import load_backbone
from minorkey.models.heads.detection.atss import atss_losses
from minorkey.models.heads.detection.atss.detector import SUPPRESSED
from minorkey.models.heads.detection.atss.suppression import distinct
from minorkey.models.heads.detection.detr import box_targets
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.protocol import Protocol

CLASSES = 3
SIZE = (64, 96)
OVERLAP = 0.6
BOXES = [torch.tensor([[8.0, 4, 40, 60], [50, 10, 90, 40]]), torch.zeros(0, 4)]
LABELS = [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64)]


@pytest.fixture
def make(backbone_folder):
    """Build a detector; `opinionated` heads are sure of some places and have boxes of all sizes."""

    def build(opinionated=False, classes=CLASSES, **changes):
        options = {"channels": 32, "queries": 40, "decoder_layers": 1, **changes}
        backbone = load_backbone(BackboneOptions(name=str(backbone_folder))).network
        model = Detection().build(backbone, HeadOptions(name="atss", **options), classes, seed=0).eval()
        if opinionated:
            generator = torch.Generator().manual_seed(0)
            for layer in (model.head.classifier, model.head.regressor, model.head.center_scorer):
                layer.weight.data = 0.2 * torch.randn(layer.weight.shape, generator=generator)
        return model

    return build


@pytest.fixture
def images():
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def dense(model, images):
    """What model and head say of images."""
    seen = []
    handle = model.head.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        output = model(pixel_values=images)
    handle.remove()
    return output, seen[0]


def overlap_of(a, b):
    together = area(a) + area(b) - common(a, b)
    return common(a, b) / together if together else 0.0


def fast_nms(boxes, scores, overlap):
    """Whether each box `(Q, K)` overlaps no surer one of the class, by the rule's own words."""
    kept = [[True] * len(row) for row in scores]
    for category in range(len(scores[0])):
        for i, j in itertools.permutations(range(len(boxes)), 2):
            ours, theirs = scores[i][category], scores[j][category]
            surer = theirs > ours or (theirs == ours and j < i)
            if surer and overlap_of(boxes[i], boxes[j]) > overlap:
                kept[i][category] = False
    return kept


def greedy_nms(boxes, scores, overlap):
    """The usual form for one class: the surest box that is left suppresses, and is gone."""
    left, kept = sorted(range(len(boxes)), key=lambda i: -scores[i]), []
    while left:
        first, *left = left
        kept.append(first)
        left = [i for i in left if overlap_of(boxes[first], boxes[i]) <= overlap]
    return [i in kept for i in range(len(boxes))]


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.6])
def test_distinct_boxes_are_those_of_a_double_loop(overlap):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(60, 2, generator=generator) * 20
    boxes = torch.cat([low, low + torch.rand(60, 2, generator=generator) * 30], 1)
    boxes[::7, 2] = boxes[::7, 0]  # without an area,
    boxes[7] = boxes[0]  # twice even
    boxes[22:26] = boxes[30]
    scores = (torch.rand(60, CLASSES, generator=generator) * 5).round() / 5  # with ties
    found = distinct(boxes, scores, overlap)
    assert found.tolist() == fast_nms(boxes.tolist(), scores.tolist(), overlap)
    assert found[::7].all()
    assert 0 < found.sum() < found.numel()


def test_without_rows_of_boxes_it_is_the_greedy_form():
    """Groups far apart, in each of which all boxes overlap."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(8).repeat_interleave(5)
    boxes = torch.tensor([0.0, 0, 40, 40]) + 100 * groups[:, None] + 3 * torch.rand(40, 4, generator=generator)
    scores = torch.rand(40, CLASSES, generator=generator)
    found = distinct(boxes, scores, OVERLAP)
    assert found.sum(0).tolist() == [8] * CLASSES
    for category in range(CLASSES):
        assert found[:, category].tolist() == greedy_nms(boxes.tolist(), scores[:, category].tolist(), OVERLAP)


def test_a_suppressed_box_suppresses_too():
    row = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]])  # the first and last overlap by 6 of 14
    scores = torch.tensor([[0.9], [0.8], [0.7]])
    assert distinct(row, scores, OVERLAP)[:, 0].tolist() == [True, False, False]
    assert greedy_nms(row.tolist(), scores[:, 0].tolist(), OVERLAP) == [True, False, True]


def test_output_has_the_form_of_a_detr(make, images):
    output, _ = dense(make(opinionated=True), images)
    assert (output.logits.shape, output.pred_boxes.shape) == ((2, 40, CLASSES), (2, 40, 4))
    corners_of = center_to_corners_format(output.pred_boxes)
    assert corners_of.min() > -1e-6
    assert corners_of.max() < 1 + 1e-6
    assert output.loss is None
    assert torch.isfinite(output.logits.half()).all()


def test_scores_are_of_class_times_centerness_at_the_surest_places(make, images):
    output, said = dense(make(opinionated=True), images)
    flat = [anchor for level in anchors(said.shapes, SIZE) for anchor in level]
    suppressed = 0
    for image in range(2):
        center = [sigmoid(logit) for logit in said.centerness[image].tolist()]
        scores = [
            [(sigmoid(k) * c) ** 0.5 for k in row] for row, c in zip(said.logits[image].tolist(), center, strict=True)
        ]
        places = sorted(range(len(flat)), key=lambda place: -max(scores[place]))[:40]
        boxes = [corners_in_image(decoded(flat[place], said.deltas[image, place].tolist())) for place in places]
        shares = torch.tensor([[96.0, 64, 96, 64]])
        found = center_to_corners_format(output.pred_boxes[image]) * shares
        torch.testing.assert_close(found, torch.tensor(boxes), atol=1e-3, rtol=1e-4)
        kept = torch.tensor(fast_nms(boxes, [scores[place] for place in places], OVERLAP))
        expected = torch.tensor([scores[place] for place in places]) * kept
        torch.testing.assert_close(output.logits[image].sigmoid(), expected, atol=2e-6, rtol=1e-4)
        assert (output.logits[image][~kept] < SUPPRESSED / 2).all()
        suppressed += int((~kept).sum())
    assert suppressed > 20


def test_what_a_surer_box_of_the_class_overlaps_is_no_pseudo_label_of_another_class(make, images):
    model = make(opinionated=True)
    output, said = dense(model, images)
    with torch.no_grad():
        found = Detection().find(model, images, torch.ones_like(images[:, 0], dtype=torch.bool))
    scores = (said.logits.sigmoid() * said.centerness.sigmoid()[..., None]).sqrt()
    places = scores.amax(-1).topk(40).indices
    likeliest = scores.take_along_dim(places[..., None], 1).argmax(-1)
    assert torch.equal(found.classes, likeliest)
    suppressed = output.logits.gather(-1, likeliest[..., None])[..., 0] < SUPPRESSED / 2
    others = output.logits.sigmoid().amax(-1)
    assert (suppressed & (others > 0.3)).any(), "another class is left of some"
    assert not found.scores[suppressed].any()
    sides = found.boxes[..., 2:] - found.boxes[..., :2]
    assert torch.equal(found.scores > 0, ~suppressed & (sides > 0).all(-1))


def test_levels_and_anchors_are_what_the_options_say(make, images):
    """Four maps with anchors of 4 strides: what is said of the surest place is decoded from such an anchor."""
    output, said = dense(make(opinionated=True, levels=4, anchor=4.0), images)
    assert said.shapes == [(16, 24), (8, 12), (4, 6), (2, 3)]
    flat = [anchor for level in anchors(said.shapes, SIZE, strides=4) for anchor in level]
    scores = (said.logits.sigmoid().amax(-1) * said.centerness.sigmoid())[0]
    place = scores.argmax()
    box = corners_in_image(decoded(flat[place], said.deltas[0, place].tolist()))
    found = center_to_corners_format(output.pred_boxes[0, 0]) * torch.tensor([96.0, 64, 96, 64])
    torch.testing.assert_close(found, torch.tensor(box), atol=1e-3, rtol=1e-4)


def corners_in_image(box):
    height, width = SIZE
    return [min(max(value, 0.0), limit) for value, limit in zip(box, (width, height, width, height), strict=True)]


def test_losses_are_those_of_the_head_on_boxes_in_pixels(make, images):
    model = make(opinionated=True)
    _, said = dense(model, images)
    output = model(pixel_values=images, labels=box_targets(BOXES, LABELS, SIZE))
    expected = atss_losses(said, BOXES, LABELS, SIZE)
    assert list(output.loss_dict) == ["atss_class", "atss_box", "atss_centerness"]
    for name, value in expected.items():
        torch.testing.assert_close(output.loss_dict[name], value, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.loss, sum(expected.values()), atol=1e-5, rtol=1e-4)


def test_images_without_objects_make_every_class_less_likely(make, images):
    model = make()
    output = model(pixel_values=images, labels=box_targets([BOXES[1]] * 2, [LABELS[1]] * 2, SIZE))
    assert output.loss_dict["atss_class"] > 0
    assert output.loss_dict["atss_box"] == output.loss_dict["atss_centerness"] == 0
    output.loss.backward()
    assert (model.head.classifier.bias.grad > 0).all()


def test_a_small_image_has_a_box_for_each_place(make):
    output, _ = dense(make(channels=64, queries=1000), torch.zeros(1, 3, 32, 32))
    assert output.pred_boxes.shape == (1, 4 * 4 + 2 * 2 + 1, 4)


def test_nor_does_the_task_refuse_it(make):
    found = Detection().predict(
        make(), torch.zeros(1, 3, 64, 64), Protocol(label_space="weather7", metric="coco", task="detection")
    )
    assert found


def test_half_precision_gives_nearly_the_same(make, images):
    model = make().train()
    labels = box_targets(BOXES, LABELS, SIZE)
    expected = model(pixel_values=images, labels=labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(pixel_values=images, labels=labels)
    assert output.logits.dtype == output.pred_boxes.dtype == torch.float32
    torch.testing.assert_close(output.loss, expected.loss, rtol=0.02, atol=0)
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.head.parameters())


def test_an_auxiliary_head_is_refused(make):
    with pytest.raises(ModelError) as error:
        make(auxiliary="atss")
    assert str(error.value) == "head.auxiliary teaches the encoder of a DETR; atss has none, leave it out"


def test_defaults_are_the_papers(make):
    config = make(queries=None, decoder_layers=None).config
    assert (config.layers, config.num_queries, config.overlap) == (4, 100, 0.6)


def test_learns_an_image_by_heart(make):
    """Objects of a good part of the image; those of a few pixels take longer."""
    options = WorldOptions(seed=3, train_count=1, size=(128, 64))
    named = {"label_space": label_space("weather7"), "options": options, "annotation": "boxes"}
    (reader,) = open_datasets("world", role="source", **named)
    sample = reader[0]
    kept = ~sample.crowd & ((sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(1) > 64 * 128 / 80)
    boxes, classes = torch.from_numpy(sample.boxes[kept]).float(), torch.from_numpy(sample.box_classes[kept])
    assert len(boxes) > 2
    image = (torch.from_numpy(sample.image).permute(2, 0, 1)[None] / 255 - 0.45) / 0.225
    model = make(classes=7).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(pixel_values=image, labels=box_targets([boxes], [classes], (64, 128))).loss.backward()
        optimizer.step()
    output, _ = dense(model.eval(), image)
    found = center_to_corners_format(output.pred_boxes[0]) * torch.tensor([128.0, 64, 128, 64])
    for box, category in zip(boxes.tolist(), classes.tolist(), strict=True):
        sure = found[output.logits[0, :, category].sigmoid() > 0.3]
        assert max(overlap_of(box, other) for other in sure.tolist()) > 0.5
