import copy
import multiprocessing
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from atss_reference import anchors as reference_anchors
from atss_reference import assign, centerness, corners, decoded, giou, losses

from minorkey.models.heads.detection.atss import (
    AtssHead,
    AtssOutput,
    PositiveAnchors,
    atss_assign,
    atss_losses,
    positive_anchors,
)
from minorkey.models.heads.detection.atss.anchors import decode, nearest_places, square_anchors

IMAGE = (96, 128)
SHAPES = [(12, 16), (6, 8), (3, 4)]
PLACES = sum(rows * columns for rows, columns in SHAPES)
CLASSES = 3


def _boxes(count, seed=0, image_size=IMAGE):
    generator = torch.Generator().manual_seed(seed)
    height, width = image_size
    middles = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    sides = torch.exp(torch.empty(count, 2).uniform_(1.5, 4.5, generator=generator))
    low = (middles - sides / 2).clamp(min=0)
    return torch.cat([low, (middles + sides / 2).minimum(torch.tensor([width, height]))], 1)


def _classes(count, seed=0):
    return torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed))


def _output(images, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    shapes = (images, PLACES, CLASSES), (images, PLACES, 4), (images, PLACES)
    return AtssOutput(*(torch.randn(s, generator=generator).requires_grad_(requires_grad) for s in shapes), SHAPES)


def _reference_losses(output, boxes, classes):
    nested = [tensor.tolist() for tensor in (output.logits, output.deltas, output.centerness)]
    return losses(*nested, [b.tolist() for b in boxes], [c.tolist() for c in classes], SHAPES, IMAGE, output.side)


def _assert_like_the_reference(output, boxes, classes):
    terms = atss_losses(output, boxes, classes, IMAGE)
    assert list(terms) == ["atss_class", "atss_box", "atss_centerness"]
    assert [term.item() for term in terms.values()] == pytest.approx(_reference_losses(output, boxes, classes), 1e-4)


def test_one_square_anchor_at_each_place_of_each_map():
    expected = [corners(anchor) for level in reference_anchors(SHAPES, IMAGE) for anchor in level]
    torch.testing.assert_close(square_anchors(SHAPES, IMAGE), torch.tensor(expected))
    first, last = square_anchors([(128, 128), (64, 64), (32, 32)], (1024, 1024))[[0, -1]].tolist()
    assert first == [4 - 32, 4 - 32, 4 + 32, 4 + 32]  # 8 strides of 8 around the middle of the first cell
    assert last == [1008 - 128, 1008 - 128, 1008 + 128, 1008 + 128]


@pytest.mark.parametrize("shape", [(20, 30), (1, 30), (4, 5), (2, 2)])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_nearest_places_are_those_of_a_full_search(shape, count):
    points = torch.rand(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = (points * 1.2 - 0.1) * torch.tensor([240, 160])  # some lie outside of the image
    points[:40] = (points[:40] / 4).round() * 4  # and some between several places
    image_size = (160, 240)
    middles = torch.tensor([anchor[:2] for anchor in reference_anchors([shape], image_size)[0]], dtype=torch.float64)
    distances = (points[:, None] - middles).square().sum(-1)
    nearest = nearest_places(points, shape, image_size, count)
    assert nearest.shape == (300, min(count, shape[0] * shape[1]))
    found = distances.gather(1, nearest)
    torch.testing.assert_close(found, distances.sort(dim=1).values[:, :count])
    assert all(len(set(row)) == len(row) for row in nearest.tolist())


def test_of_two_as_near_the_first_counts():
    middle = torch.tensor([[16.0, 16.0]])
    assert nearest_places(middle, (4, 4), (32, 32), 1).tolist() == [[5]]
    assert nearest_places(middle, (4, 4), (32, 32), 4).tolist() == [[5, 6, 9, 10]]


def test_a_regression_makes_a_box_of_an_anchor():
    anchors = square_anchors(SHAPES, IMAGE)[::17]
    deltas = 3 * torch.randn(len(anchors), 4, generator=torch.Generator().manual_seed(0))
    flat = [anchor for level in reference_anchors(SHAPES, IMAGE) for anchor in level][::17]
    expected = [decoded(anchor, row) for anchor, row in zip(flat, deltas.tolist(), strict=True)]
    torch.testing.assert_close(decode(deltas, anchors), torch.tensor(expected))


def test_a_wild_regression_stays_finite():
    anchors = square_anchors(SHAPES, IMAGE)[:1]
    deltas = torch.full((1, 4), 1e4, requires_grad=True)
    boxes = decode(deltas, anchors)
    boxes.sum().backward()
    assert boxes.isfinite().all()
    assert deltas.grad.isfinite().all()


@pytest.mark.parametrize(("count", "seed"), [(1, 8), (2, 1), (5, 2), (12, 3), (40, 4), (200, 5)])
def test_the_assignment_is_that_of_the_paper(count, seed):
    boxes = _boxes(count, seed)
    owners = atss_assign(boxes, SHAPES, IMAGE)
    assert owners.dtype == torch.int64
    assert owners.tolist() == assign(boxes.tolist(), SHAPES, IMAGE)
    assert owners.max() >= 0


def test_the_assignment_on_maps_that_do_not_divide_the_image():
    shapes, image_size = [(13, 17), (7, 9), (4, 5)], (100, 130)
    boxes = _boxes(15, image_size=image_size)
    assert atss_assign(boxes, shapes, image_size).tolist() == assign(boxes.tolist(), shapes, image_size)


def test_the_assignment_with_anchors_of_another_side():
    boxes = _boxes(15)
    owners = atss_assign(boxes, SHAPES, IMAGE, side=3.0)
    assert owners.tolist() == assign(boxes.tolist(), SHAPES, IMAGE, strides=3.0)
    assert not owners.equal(atss_assign(boxes, SHAPES, IMAGE))


def test_no_object_no_anchor():
    assert atss_assign(torch.zeros(0, 4), SHAPES, IMAGE).tolist() == [-1] * PLACES


def test_an_object_the_size_of_an_anchor_gets_that_anchor():
    anchors = square_anchors(SHAPES, IMAGE)
    middle = 6 * 16 + 8
    owners = atss_assign(anchors[[middle]], SHAPES, IMAGE)
    assert owners[middle] == 0
    assert owners[12 * 16 :].max() == -1  # anchors of twice the side cover a quarter: below the threshold


def test_a_tiny_object_in_which_no_centre_lies_gets_none():
    between = torch.tensor([[62.0, 46.0, 66.0, 50.0]])  # centres of the finest map are at 60 and 68, 44 and 52
    assert atss_assign(between, SHAPES, IMAGE).max() == -1
    around_one = between - 4
    assert (atss_assign(around_one, SHAPES, IMAGE) == 0).sum() == 1


def test_an_anchor_of_several_objects_goes_to_the_one_of_highest_iou():
    small, large = torch.tensor([20.0, 20.0, 76.0, 76.0]), torch.tensor([16.0, 16.0, 80.0, 80.0])
    alone = atss_assign(small[None], SHAPES, IMAGE)
    for boxes, winner in ((torch.stack([small, large]), 1), (torch.stack([large, small]), 0)):
        owners = atss_assign(boxes, SHAPES, IMAGE)
        assert set(owners[alone == 0].tolist()) == {winner}  # anchors of the finest map have 64 pixels a side


def test_of_two_objects_in_one_place_the_first_gets_the_anchors():
    box = _boxes(1)
    assert atss_assign(box.repeat(2, 1), SHAPES, IMAGE).equal(atss_assign(box, SHAPES, IMAGE))


@pytest.mark.parametrize("counts", [(1,), (3, 0, 8), (25, 25), (0, 0)])
def test_the_losses_are_those_of_the_reference(counts):
    boxes = [_boxes(count, seed) for seed, count in enumerate(counts)]
    classes = [_classes(count, seed) for seed, count in enumerate(counts)]
    _assert_like_the_reference(_output(len(counts)), boxes, classes)


def test_the_losses_with_anchors_of_another_side():
    _assert_like_the_reference(replace(_output(1), side=3.0), [_boxes(12)], [_classes(12)])


def test_the_losses_of_200_objects():
    _assert_like_the_reference(_output(1), [_boxes(200)], [_classes(200)])


def test_a_right_answer_costs_next_to_nothing_and_a_wrong_class_does():
    boxes, classes = [_boxes(4)], [_classes(4)]
    owners = atss_assign(boxes[0], SHAPES, IMAGE)
    found, anchors = owners >= 0, square_anchors(SHAPES, IMAGE)
    logits, deltas, center = torch.full((1, PLACES, CLASSES), -12.0), torch.zeros(1, PLACES, 4), torch.zeros(1, PLACES)
    logits[0, found, classes[0][owners[found]]] = 12.0
    wanted, held = boxes[0][owners[found]], anchors[found]
    sides = held[:, 2:] - held[:, :2]
    deltas[0, found, :2] = 10 * ((wanted[:, :2] + wanted[:, 2:]) / 2 - (held[:, :2] + held[:, 2:]) / 2) / sides
    deltas[0, found, 2:] = 5 * ((wanted[:, 2:] - wanted[:, :2]) / sides).log()
    right = atss_losses(AtssOutput(logits, deltas, center, SHAPES), boxes, classes, IMAGE)
    assert right["atss_class"] < 1e-6
    assert right["atss_box"].abs() < 1e-5
    wrong = atss_losses(AtssOutput(logits, deltas, center, SHAPES), boxes, [(classes[0] + 1) % CLASSES], IMAGE)
    assert wrong["atss_class"] > 1


def test_without_objects_only_the_class_scores_learn():
    output = _output(2, requires_grad=True)
    terms = atss_losses(output, [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2, IMAGE)
    sum(terms.values()).backward()
    assert terms["atss_class"] > 0
    assert terms["atss_box"] == 0
    assert terms["atss_centerness"] == 0
    assert (output.logits.grad > 0).all()
    assert output.deltas.grad.abs().max() == 0  # there, so that every process of a group has a gradient
    assert output.centerness.grad.abs().max() == 0


def test_boxes_and_centerness_learn_at_assigned_anchors_alone():
    output = _output(1, requires_grad=True)
    sum(atss_losses(output, [_boxes(6)], [_classes(6)], IMAGE).values()).backward()
    found = atss_assign(_boxes(6), SHAPES, IMAGE) >= 0
    assert (output.deltas.grad[0].abs().sum(1) > 0).equal(found)
    assert (output.centerness.grad[0] != 0).equal(found)


def test_gradients_are_the_slopes_of_the_reference():
    output, boxes, classes = _output(1, requires_grad=True), [_boxes(4)], [_classes(4)]
    sum(atss_losses(output, boxes, classes, IMAGE).values()).backward()
    tensors = output.logits, output.deltas, output.centerness
    nested, step = [tensor.tolist() for tensor in tensors], 1e-4
    found = (atss_assign(boxes[0], SHAPES, IMAGE) >= 0).nonzero()[-1].item()
    for which, at in ((0, (found, 0)), (0, (found, 1)), (0, (0, 0)), (1, (found, 0)), (1, (found, 3)), (2, (found,))):
        totals = []
        for change in (step, -step):
            moved = copy.deepcopy(nested)
            row = moved[which][0] if which == 2 else moved[which][0][at[0]]
            row[at[-1]] += change
            totals.append(sum(losses(*moved, [boxes[0].tolist()], [classes[0].tolist()], SHAPES, IMAGE)))
        slope = (totals[0] - totals[1]) / (2 * step)
        assert tensors[which].grad[(0, *at)].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_the_losses_are_float32_under_autocast():
    output = _output(1)
    plain = atss_losses(output, [_boxes(5)], [_classes(5)], IMAGE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = atss_losses(output, [_boxes(5)], [_classes(5)], IMAGE)
    assert [term.dtype for term in cast.values()] == [torch.float32] * 3
    assert [term.item() for term in cast.values()] == [term.item() for term in plain.values()]


def _in_process(rank, rendezvous, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    boxes, classes = [_boxes(3, rank)], [_classes(3, rank)]
    results.put((rank, [term.item() for term in atss_losses(_output(1, rank), boxes, classes, IMAGE).values()]))
    dist.destroy_process_group()


def test_two_processes_average_to_the_losses_of_the_whole_batch(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    started = [context.Process(target=_in_process, args=(rank, tmp_path / "meet", results)) for rank in range(2)]
    for process in started:
        process.start()
    parts = dict(results.get(timeout=120) for _ in started)
    for process in started:
        process.join()
    outputs = [_output(1, rank) for rank in range(2)]
    tensors = (torch.cat([getattr(o, name) for o in outputs]) for name in ("logits", "deltas", "centerness"))
    boxes, classes = [_boxes(3, rank) for rank in range(2)], [_classes(3, rank) for rank in range(2)]
    whole = atss_losses(AtssOutput(*tensors, SHAPES), boxes, classes, IMAGE)
    average = [(a + b) / 2 for a, b in zip(parts[0], parts[1], strict=True)]
    assert average == pytest.approx([term.item() for term in whole.values()], rel=1e-5)


def _features(images=1, channels=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, channels, *shape, generator=generator) for shape in SHAPES]


def test_the_head_reads_every_level_with_the_same_convolutions_and_its_own_scale():
    torch.manual_seed(0)
    head = AtssHead(32, CLASSES)
    features = _features(images=2)
    output = head(features)
    assert output.logits.shape == (2, PLACES, CLASSES)
    assert output.deltas.shape == (2, PLACES, 4)
    assert output.centerness.shape == (2, PLACES)
    assert output.shapes == SHAPES
    with torch.no_grad():
        head.scales[1] = 3.0
    scaled = head(features)
    level = slice(12 * 16, 12 * 16 + 6 * 8)
    torch.testing.assert_close(scaled.deltas[:, level], 3 * output.deltas[:, level])
    assert scaled.deltas[:, : 12 * 16].equal(output.deltas[:, : 12 * 16])
    assert scaled.logits.equal(output.logits)
    alone = AtssHead(32, CLASSES, levels=1)
    alone.load_state_dict({**head.state_dict(), "scales": torch.ones(1)})
    row = head.classifier(head.class_tower(features[1]))[0, :, 2, 5]  # row 2, column 5 of the second map
    torch.testing.assert_close(output.logits[0, 12 * 16 + 2 * 8 + 5], row)
    torch.testing.assert_close(alone([features[1]]).logits, output.logits[:, level])


def test_at_the_start_every_class_is_unlikely():
    torch.manual_seed(0)
    probabilities = AtssHead(32, CLASSES)(_features()).logits.sigmoid()
    assert probabilities.mean().item() == pytest.approx(0.01, rel=0.1)


def test_levels_that_the_head_was_not_built_for():
    with pytest.raises(ValueError, match="zip"):
        AtssHead(32, CLASSES, levels=2)(_features())


def test_the_head_learns_a_scene_by_heart():
    torch.manual_seed(0)
    head = AtssHead(32, CLASSES)
    boxes, classes = [_boxes(3, seed=3)], [torch.tensor([0, 1, 2])]
    features = _features()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        sum(atss_losses(head(features), boxes, classes, IMAGE).values()).backward()
        optimizer.step()
    with torch.no_grad():
        output = head(features)
    owners = atss_assign(boxes[0], SHAPES, IMAGE)
    found = owners >= 0
    predicted = decode(output.deltas[0], square_anchors(SHAPES, IMAGE))
    overlaps = [giou(predicted[place].tolist(), boxes[0][owners[place]].tolist()) for place in found.nonzero()[:, 0]]
    assert min(overlaps) > 0.7
    assert output.logits[0, found].argmax(1).equal(classes[0][owners[found]])
    assert output.logits[0, found].sigmoid().amax(1).min() > 0.5
    assert output.logits[0, ~found].sigmoid().max() < 0.5


def test_learning_is_the_same_every_time():
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        head = AtssHead(32, CLASSES)
        features = [level.requires_grad_() for level in _features()]
        sum(atss_losses(head(features), [_boxes(20)], [_classes(20)], IMAGE).values()).backward()
        results.append([*(p.grad for p in head.parameters()), *(level.grad for level in features)])
    assert all(a.equal(b) for a, b in zip(*results, strict=True))
    assert all(gradient.abs().sum() > 0 for gradient in results[0])


def test_positive_anchors_say_what_they_are_to_find():
    boxes = [_boxes(5), torch.zeros(0, 4)]
    anchors = positive_anchors(boxes, SHAPES, IMAGE)
    positive, none = ([values[image][anchors.real[image]] for values in anchors] for image in (0, 1))
    expected = [(owner, place) for place, owner in enumerate(assign(boxes[0].tolist(), SHAPES, IMAGE)) if owner >= 0]
    pairs = zip(positive[1].tolist(), positive[2].tolist(), strict=True)
    assert list(pairs) == sorted(expected)
    flat = [anchor for level in reference_anchors(SHAPES, IMAGE) for anchor in level]
    for box, owner, place in zip(positive[0].tolist(), *positive[1:3], strict=True):
        x0, y0, x1, y1 = corners(flat[place])
        assert box == pytest.approx([max(x0, 0), max(y0, 0), min(x1, IMAGE[1]), min(y1, IMAGE[0])])
        assert centerness(flat[place], boxes[0][owner].tolist()) > 0
    assert [len(values) for values in none] == [0, 0, 0, 0]
    assert not anchors.objects[1].any()


def test_of_too_many_positive_anchors_every_object_keeps_its_share():
    boxes = [torch.tensor([[2.0, 2.0, 60.0, 60.0], [66.0, 30.0, 126.0, 94.0]])]
    every = _real(positive_anchors(boxes, SHAPES, IMAGE))
    half = _real(positive_anchors(boxes, SHAPES, IMAGE, most=len(every.places) // 2))
    assert len(half.places) == len(every.places) // 2
    assert set(half.places.tolist()) < set(every.places.tolist())
    for number in (0, 1):
        assert abs((half.objects == number).sum() - (every.objects == number).sum() / 2) <= 1


def _real(anchors: PositiveAnchors) -> PositiveAnchors:
    """Those of the first image that it is not filled up with."""
    return PositiveAnchors(*(values[0][anchors.real[0]] for values in anchors))


def test_objects_may_be_more_than_anchors():
    shapes = [(8, 8), (4, 4), (2, 2)]
    boxes = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 32
    boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + 1], 1)
    owners = atss_assign(boxes, shapes, (64, 64))
    anchors = _real(positive_anchors([boxes], shapes, (64, 64)))
    assert (owners[anchors.places] >= 0).all()
    assert len(anchors.places) == int((owners >= 0).sum())


def test_there_is_room_for_as_many_positive_anchors_as_there_may_be():
    boxes = [_boxes(5), _boxes(1)]
    for most, room in ((300, 5 * 3 * 9), (20, 20)):
        assert positive_anchors(boxes, SHAPES, IMAGE, most=most).real.shape == (2, room)
    assert positive_anchors([torch.zeros(0, 4)], SHAPES, IMAGE).real.shape == (1, 0)
