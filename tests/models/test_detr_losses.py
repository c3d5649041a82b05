"""The losses of the DETR heads against plain Python over single queries and objects."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from minorkey.models.backbone import load_backbone
from minorkey.models.detectors import DETECTION_HEADS
from minorkey.models.heads.detection.d_fine import corner_layers, d_fine_criterion
from minorkey.models.heads.detection.detr import box_targets, process_average
from minorkey.models.heads.detection.rt_detr_v2 import thinned
from minorkey.models.heads.set_criterion import total
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.detection.task import Detection

CLASSES = 3
SIZE = (64, 96)
NAMES = pytest.mark.parametrize("name", [name for name, spec in DETECTION_HEADS.shipped.items() if spec.decoding])
HYBRID = pytest.mark.parametrize("name", ["rt_detr_v2", "d_fine"])

BOXES = [[[8.0, 4, 40, 60], [50, 10, 90, 30]], [[0, 0, 96, 64.0]], []]
LABELS = [[2, 0], [1], []]


def targets_of(images=(0, 1, 2)):
    boxes = [torch.tensor(BOXES[i]).reshape(-1, 4) for i in images]
    return box_targets(boxes, [torch.tensor(LABELS[i], dtype=torch.int64) for i in images], SIZE)


@pytest.fixture
def images():
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def make(backbone_folder):
    def build(name, decoder_layers=2, **changes):
        head = HeadOptions(
            name=name, channels=32, queries=6, encoder_layers=1, decoder_layers=decoder_layers, **changes
        )
        model = Detection().build(load_backbone(BackboneOptions(name=str(backbone_folder))).network, head, CLASSES, 0)
        with torch.random.fork_rng():  # boxes that differ from layer to layer
            torch.manual_seed(2)
            for parameter in model.bbox_embed.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        return model.eval()

    return build


def still(model):
    """In training mode, with batch norms that give the same every time."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return model


def corners(box: Tensor) -> list[float]:
    x, y, width, height = box.tolist()
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def overlaps(one: Tensor, other: Tensor) -> tuple[float, float]:
    """IoU and GIoU."""
    a, b = corners(one), corners(other)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    common = math.prod(max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    hull = math.prod(max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1))
    union = sum(area) - common
    return common / union, common / union - (hull - union) / hull


def matching(logits: Tensor, boxes: Tensor, target: dict[str, Tensor]) -> tuple[int, ...]:
    """The query of each object, of all ways to choose them the cheapest: focal 2, L1 5, GIoU 2."""

    def cost(query: int, item: int) -> float:
        p = logits[query, target["class_labels"][item]].sigmoid().item()
        found = 0.25 * (1 - p) ** 2 * -math.log(p + 1e-8) - 0.75 * p**2 * -math.log(1 - p + 1e-8)
        distance = (boxes[query] - target["boxes"][item]).abs().sum().item()
        return 2 * found + 5 * distance - 2 * overlaps(boxes[query], target["boxes"][item])[1]

    ways = itertools.permutations(range(len(logits)), len(target["boxes"]))
    return min(ways, key=lambda way: sum(cost(query, item) for item, query in enumerate(way)))


def expected(logits: Tensor, boxes: Tensor, targets: list[dict[str, Tensor]], varifocal: bool) -> Tensor:
    """Class, L1 and GIoU loss of one layer, weighted, over the number of objects."""
    count = max(1, sum(len(target["boxes"]) for target in targets))
    sums = torch.zeros(3)
    for image, target in enumerate(targets):
        wanted = torch.zeros_like(logits[image])
        for item, query in enumerate(matching(logits[image], boxes[image], target)):
            box, label = target["boxes"][item], target["class_labels"][item]
            iou, giou = overlaps(boxes[image, query], box)
            wanted[query, label] = iou if varifocal else 1
            sums[1] += 5 * (boxes[image, query] - box).abs().sum()
            sums[2] += 2 * (1 - giou)
        p = logits[image].sigmoid()
        entropy = -(wanted * p.log() + (1 - wanted) * (1 - p).log())
        if varifocal:
            sums[0] += (torch.where(wanted > 0, wanted, 0.75 * p**2) * entropy).sum()
        else:
            weight = torch.where(wanted > 0, 0.25 * (1 - p) ** 2, 0.75 * p**2)
            sums[0] += 2 * (weight * entropy).sum()
    return sums / count


@torch.no_grad()
def test_deformable_detr_learns_by_focal_loss_on_both_stages(make, images):
    model, targets = make("deformable_detr", decoder_layers=1), targets_of()
    output = model(pixel_values=images, labels=targets)
    of_class, of_place, of_overlap = expected(output.logits, output.pred_boxes, targets, varifocal=False)
    found = output.loss_dict
    torch.testing.assert_close(found["loss_ce"], of_class)
    torch.testing.assert_close(found["loss_bbox"], of_place)
    torch.testing.assert_close(found["loss_giou"], of_overlap)


@torch.no_grad()
def test_first_stage_of_deformable_detr_finds_any_object(make, images):
    model, target = make("deformable_detr"), targets_of([1])
    output = model(pixel_values=images[:1], labels=target)
    anything = [{**target[0], "class_labels": torch.tensor([0])}]
    logits, boxes = output.enc_outputs_class, output.enc_outputs_coord_logits.sigmoid()
    torch.testing.assert_close(output.loss_dict["encoder"], expected(logits, boxes, anything, varifocal=False).sum())


@torch.no_grad()
def test_rt_detr_v2_learns_by_varifocal_loss(make, images):
    model, targets = make("rt_detr_v2"), targets_of()
    output = model(pixel_values=images, labels=targets)
    layers = zip(output.intermediate_logits.unbind(1), output.intermediate_reference_points.unbind(1), strict=True)
    of_layers = sum(expected(logits, boxes, targets, varifocal=True) for logits, boxes in layers)
    found = torch.stack([output.loss_dict[name] for name in ("loss_vfl", "loss_bbox", "loss_giou")])
    torch.testing.assert_close(found, of_layers)
    proposals = expected(output.enc_topk_logits, output.enc_topk_bboxes, targets, varifocal=True)
    torch.testing.assert_close(output.loss_dict["encoder"], proposals.sum())


@torch.no_grad()
def test_d_fine_learns_by_varifocal_loss(make, images):
    model, targets = still(make("d_fine")), targets_of()
    model.config.num_denoising = 0
    output = model(pixel_values=images, labels=targets)
    layers = zip(output.intermediate_logits.unbind(1), output.intermediate_reference_points.unbind(1), strict=True)
    layers = [(logits, boxes.clamp(0, 1)) for logits, boxes in layers]
    assert len(layers) == 3  # before the distributions of the first layer, and after either layer's
    of_layers = sum(expected(logits, boxes, targets, varifocal=True) for logits, boxes in layers)
    found = torch.stack([output.loss_dict[name] for name in ("loss_vfl", "loss_bbox", "loss_giou")])
    torch.testing.assert_close(found, of_layers)


@torch.no_grad()
def test_d_fine_pairs_boxes_with_their_own_distributions(make, images):
    model, calls = make("d_fine", decoder_layers=3).train(), []
    model.loss_function = lambda *given, **named: calls.append((given, named)) or (None, {}, None)
    model(pixel_values=images, labels=targets_of())
    ((given, named),) = calls
    layers = corner_layers(*given[5:7], named["predicted_corners"], named["initial_reference_points"])
    assert [len(layers[part]) for part in ("logits", "pred_boxes", "pred_corners", "ref_points")] == [4, 4, 3, 3]
    decoder = model.model.decoder
    # Equation 2 of the paper: each edge moves by the mean of W under its distribution. W(n) is symmetric, spaced as
    # a geometric series between its middle and its outer bound, which the last steps of both sides double.
    ratio = (0.5 * 4 + 1) ** (2 / (decoder.max_num_bins - 2))
    positive = torch.tensor([ratio**i - 1 for i in range(1, 16)] + [0.5 * 4 * 2])
    steps = torch.cat([-positive.flip(0), torch.zeros(1), positive])
    torch.testing.assert_close(d_fine_criterion(model.config).local.steps(torch.device("cpu")), steps)
    moved = (layers["pred_corners"].unflatten(-1, (4, 33)).softmax(-1) * steps).sum(-1) / 4
    x, y, width, height = layers["ref_points"].unbind(-1)
    sides = torch.stack([0.5 + moved[..., i] for i in range(4)], -1)
    left, top = x - sides[..., 0] * width, y - sides[..., 1] * height
    right, bottom = x + sides[..., 2] * width, y + sides[..., 3] * height
    boxes = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], -1)
    torch.testing.assert_close(layers["pred_boxes"][1:], boxes, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_last_layer_of_d_fine_learns_its_distributions(make, images):
    """In evaluation there is no other layer."""
    output = make("d_fine")(pixel_values=images, labels=targets_of())
    assert output.intermediate_predicted_corners.shape[1] == 1
    assert output.loss_dict["loss_fgl"] > 0


@NAMES
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("auxiliary", [None, "atss"])
def test_loss_is_the_sum_of_its_terms(make, images, name, training, auxiliary):
    model = make(name, auxiliary=auxiliary).train(training)
    for chosen in ([0, 1, 2], [2, 2, 2]):
        output = model(pixel_values=images, labels=targets_of(chosen))
        torch.testing.assert_close(output.loss, total(output.loss_dict))
        assert torch.isfinite(output.loss)
        output.loss.backward()


@HYBRID
def test_denoising_follows_the_global_random_state(make, images, name):
    model = make(name).train()
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(model(pixel_values=images, labels=targets_of()).loss_dict["denoising"].item())
    assert losses[0] == losses[1] != losses[2]


@HYBRID
def test_queries_learn_the_same_beside_denoised_ones(make, images, name):
    """The denoised queries are ahead of the others and are not seen by them."""
    model, targets = still(make(name)), targets_of()
    beside = model(pixel_values=images, labels=targets).loss_dict
    assert beside.pop("denoising") > 0
    model.config.num_denoising = 0
    alone = model(pixel_values=images, labels=targets).loss_dict
    assert alone.keys() == beside.keys()
    for term, value in alone.items():
        torch.testing.assert_close(beside[term], value, msg=term)


@HYBRID
def test_no_more_objects_are_denoised_than_there_are_queries(make, images, name):
    """At 2000 objects there would be 4000 denoising queries, each of which looks at every other."""
    model, sizes = still(make(name)), []
    model.model.decoder.register_forward_pre_hook(
        lambda _, inputs, named: sizes.append(named["inputs_embeds"].shape[1]), with_kwargs=True
    )
    corner = torch.rand(2000, 2, generator=torch.Generator().manual_seed(3)) * 50
    crowd = box_targets([torch.cat([corner, corner + 10], 1)], [torch.arange(2000) % CLASSES], SIZE)
    output = model(pixel_values=images[:1], labels=crowd)
    assert sizes == [6 + 2 * 6 * (100 // 6)]
    assert output.loss_dict["denoising"] > 0
    assert output.loss.isfinite()


def test_objects_are_thinned_evenly():
    boxes = torch.rand(10, 4)
    few, many = thinned([{"class_labels": torch.arange(n), "boxes": boxes[:n]} for n in (4, 10)], 4)
    assert few["class_labels"].tolist() == [0, 1, 2, 3]
    assert many["class_labels"].tolist() == [0, 2, 5, 7]
    assert torch.equal(many["boxes"], boxes[[0, 2, 5, 7]])


@NAMES
def test_predictions_that_are_not_finite_give_nan(make, images, name):
    model = make(name).train()
    model.model.decoder.layers[0].final_layer_norm.bias.data[0] = torch.nan
    assert model(pixel_values=images, labels=targets_of()).loss.isnan()


@NAMES
def test_half_precision_is_left_to_the_network(make, images, name):
    model = make(name, auxiliary="atss").train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(pixel_values=images, labels=targets_of())
    assert output.loss.dtype == torch.float32
    assert torch.isfinite(output.loss)
    output.loss.backward()


def test_targets_are_shares_of_the_batch_image():
    (target,) = box_targets([torch.tensor([[0.0, 16, 48, 64]])], [torch.tensor([1])], SIZE)
    torch.testing.assert_close(target["boxes"], torch.tensor([[0.25, 0.625, 0.5, 0.75]]))
    assert target["class_labels"].tolist() == [1]


def test_objects_are_counted_over_the_processes(monkeypatch):
    assert process_average(0, torch.device("cpu")) == 1
    assert process_average(7, torch.device("cpu")) == 7
    others = SimpleNamespace(count=5.0)  # one other process with 5 objects
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda counts: counts.add_(others.count))
    assert process_average(7, torch.device("cpu")) == 6
    others.count = 0.0
    assert process_average(1, torch.device("cpu")) == 1


def test_reference_agrees_with_torch_on_a_simple_case():
    """One sure query on its object: nothing is left but the entropy of the others."""
    logits = torch.full((1, 2, CLASSES), -9.0)
    logits[0, 1, 2] = 9.0
    target = {"boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2]]), "class_labels": torch.tensor([2])}
    boxes = torch.stack([torch.tensor([0.1, 0.1, 0.1, 0.1]), target["boxes"][0]])[None]
    loss = expected(logits, boxes, [target], varifocal=True)
    hit = F.binary_cross_entropy_with_logits(torch.tensor(9.0), torch.tensor(1.0))
    torch.testing.assert_close(loss[0], hit, atol=1e-6, rtol=0.05)
    torch.testing.assert_close(loss[1:], torch.zeros(2), atol=1e-6, rtol=0)
