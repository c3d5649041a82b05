"""The losses of all layers at once against those of transformers, layer by layer; values and gradients."""

import pytest
import torch
from transformers import DeformableDetrConfig, DFineConfig, RTDetrV2Config
from transformers.loss.loss_d_fine import DFineLoss
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher, DeformableDetrImageLoss
from transformers.loss.loss_rt_detr import RTDetrLoss

from minorkey.models.heads.detection.d_fine import d_fine_criterion, d_fine_layers
from minorkey.models.heads.detection.deformable_detr import WEIGHTS, deformable_detr_criterion
from minorkey.models.heads.detection.rt_detr_v2 import denoising_loss, rt_detr_v2_criterion
from minorkey.models.heads.matching import match, without_absent
from minorkey.models.heads.set_criterion import ABSENT, padded, total

LAYERS, IMAGES, QUERIES, CLASSES = 4, 3, 12, 5
NAMES = pytest.mark.parametrize("name", ["rt_detr_v2", "d_fine", "deformable_detr"])


def boxes(*shape: int) -> torch.Tensor:
    middle, size = torch.rand(*shape, 2), torch.rand(*shape, 2)
    return torch.cat([0.2 + 0.6 * middle, 0.05 + 0.3 * size], -1)


def targets(counts: tuple[int, ...] = (4, 0, 1)) -> list[dict[str, torch.Tensor]]:
    return [{"class_labels": torch.randint(CLASSES, (n,)), "boxes": boxes(n)} for n in counts]


def prediction(name: str, queries: int = QUERIES) -> dict[str, torch.Tensor]:
    """Of D-FINE, the first layer has no distributions."""
    given = {"logits": torch.randn(LAYERS, IMAGES, queries, CLASSES), "pred_boxes": boxes(LAYERS, IMAGES, queries)}
    if name == "d_fine":
        given["pred_corners"] = torch.randn(LAYERS - 1, IMAGES, queries, 4 * 33)
        given["ref_points"] = boxes(LAYERS - 1, IMAGES, queries)
    return {key: value.requires_grad_() for key, value in given.items()}


def criteria(name: str):
    """Ours, and that of transformers with its weights."""
    if name == "deformable_detr":
        config = DeformableDetrConfig(num_labels=CLASSES, class_cost=2)
        matcher = DeformableDetrHungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
        stock = DeformableDetrImageLoss(matcher, CLASSES, config.focal_alpha, ["labels", "boxes"])
        stock.weight_dict = WEIGHTS
        return deformable_detr_criterion(config), stock
    if name == "d_fine":
        config = DFineConfig(num_labels=CLASSES)
        return d_fine_criterion(config), DFineLoss(config)
    config = RTDetrV2Config(num_labels=CLASSES)
    return rt_detr_v2_criterion(config), RTDetrLoss(config)


def layer_by_layer(stock, given, wanted, indices_of, count):
    """The terms of each layer from transformers, weighted and added up."""
    sums: dict[str, torch.Tensor] = {}
    given = {name: [*value] for name, value in given.items()}
    for place in range(LAYERS):
        layer = {name: given[name][place] for name in ("logits", "pred_boxes")}
        if "pred_corners" in given and place:
            layer |= {name: given[name][place - 1] for name in ("pred_corners", "ref_points")}
            layer |= {"teacher_corners": given["pred_corners"][-1], "teacher_logits": given["logits"][-1]}
        indices = indices_of(layer)
        for kind in stock.losses:
            for name, term in stock.get_loss(kind, layer, wanted, indices, count).items():
                if name in stock.weight_dict:
                    sums[name] = sums.get(name, 0) + stock.weight_dict[name] * term
    return sums


def gradients(loss, given):
    return dict(zip(given, torch.autograd.grad(loss, [*given.values()], allow_unused=True), strict=True))


@NAMES
@pytest.mark.parametrize("counts", [(4, 0, 1), (0, 0, 0), (2, 2, 2)])
def test_matched_losses_are_those_of_transformers(name, counts):
    torch.manual_seed(0)
    given, wanted, (ours, stock) = prediction(name), targets(counts), criteria(name)
    objects, count = padded(wanted), max(1.0, sum(counts))
    layers = d_fine_layers(given) if name == "d_fine" else given
    (terms,) = ours.matched([(layers, objects)], count)
    expected = layer_by_layer(stock, given, wanted, lambda layer: stock.matcher(layer, wanted), count)
    assert terms.keys() == expected.keys()
    torch.testing.assert_close(terms, expected, atol=1e-6, rtol=1e-6)
    theirs = gradients(total(expected), given)
    torch.testing.assert_close(gradients(total(terms), given), theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["rt_detr_v2", "d_fine"])
def test_denoising_loss_is_that_of_transformers(name):
    torch.manual_seed(1)
    wanted, (ours, stock), groups = targets(), criteria(name), 3
    given = prediction(name, queries=2 * groups * 4)
    starts = torch.arange(groups)[:, None] * 8
    places = [(starts + torch.arange(len(image["boxes"]))).flatten() for image in wanted]
    meta = {"dn_num_group": groups, "dn_positive_idx": places}
    indices = stock.get_cdn_matched_indices(meta, wanted)
    expected = total(layer_by_layer(stock, given, wanted, lambda layer: indices, 5.0 * groups))
    layers = d_fine_layers(given) if name == "d_fine" else given
    loss = denoising_loss(ours, layers, padded(wanted), meta, 5.0)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gradients(loss, given), gradients(expected, given), atol=1e-6, rtol=1e-5)


def test_groups_that_are_matched_together_are_matched_as_alone():
    torch.manual_seed(2)
    ours, _ = criteria("rt_detr_v2")
    groups = [(prediction("rt_detr_v2"), padded(targets())), (prediction("", queries=7), padded(targets((1, 9, 2))))]
    together = ours.matched(groups, 5.0)
    assert together == [ours.matched([group], 5.0)[0] for group in groups]


def test_the_cheapest_queries_are_matched_and_absent_targets_are_not():
    costs = torch.tensor([[[[3.0, 1, 9], [1, 2, 9], [torch.nan, 5, 9]]]])
    found, few = match([without_absent(costs, torch.tensor([[True, True, False]])), costs[:, :, :1].nan_to_num()])
    assert [found.queries.tolist(), found.targets.tolist(), found.images.tolist()] == [[[0, 1]], [[1, 0]], [[0, 0]]]
    assert [few.queries.tolist(), few.targets.tolist()] == [[[0]], [[1]]]


def test_targets_are_filled_up():
    wanted = targets((2, 0))
    objects = padded(wanted)
    assert objects.boxes.shape == (2, 2, 4)
    assert objects.classes[1].tolist() == [ABSENT, ABSENT]
    assert torch.equal(objects.boxes[0], wanted[0]["boxes"])
    assert padded(targets((0, 0))).classes.tolist() == [[ABSENT], [ABSENT]]
