import multiprocessing

import pytest
import torch
import torch.distributed as dist
from transformers import EomtConfig, Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from minorkey.models.heads import points
from minorkey.models.heads.matching import average_count
from minorkey.models.heads.points import sample, sample_masks, with_margin
from minorkey.models.heads.segmentation import masks
from minorkey.models.heads.segmentation.masks import ABSENT, MaskCriterion, mask_targets, semantic_scores

CLASSES, QUERIES = 3, 4
WEIGHTS = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}


@pytest.fixture
def logits():
    """Masks and classes of the queries, of two layers."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(2, 2, QUERIES, 8, 12, generator=generator)
    return masks, torch.randn(2, 2, QUERIES, CLASSES + 1, generator=generator)


@pytest.fixture
def labels():
    labels = torch.randint(0, CLASSES, (2, 32, 48), generator=torch.Generator().manual_seed(1))
    labels[:, :9] = 255
    return labels


def _criterion(points=200):
    return MaskCriterion(Mask2FormerConfig(num_labels=CLASSES, train_num_points=points), WEIGHTS)


def _losses(criterion, logits, targets):
    masks, classes = logits
    first = {"masks_queries_logits": masks[0], "class_queries_logits": classes[0]}
    torch.manual_seed(2)
    return criterion(masks[1], classes[1], *targets, [first])


def _targets(labels):
    """Masks and classes as transformers takes them: those that are there, image by image."""
    present = [image.unique() for image in labels]
    present = [classes[classes != 255] for classes in present]
    return [(image == classes[:, None, None]).float() for image, classes in zip(labels, present, strict=True)], present


def test_a_mask_for_each_class():
    labels = torch.tensor([[[0, 2], [2, 255]], [[1, 1], [1, 1]]])
    masks, classes = mask_targets(labels, CLASSES)
    assert classes.tolist() == [[0, ABSENT, 2], [ABSENT, 1, ABSENT]]
    assert masks[0].int().tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 1], [1, 0]]]
    assert masks[1, 1].all()
    assert masks.dtype == torch.bool


def test_nothing_labelled_gives_no_mask():
    masks, classes = mask_targets(torch.full((1, 4, 6), 255), CLASSES)
    assert not masks.any()
    assert (classes == ABSENT).all()


def test_scores_are_the_sum_over_queries():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, QUERIES, CLASSES + 1, generator=generator)
    masks = torch.randn(2, QUERIES, 5, 7, generator=generator)
    expected = torch.zeros(2, CLASSES, 5, 7)
    for image in range(2):
        for query in range(QUERIES):
            exponents = classes[image, query].exp()
            for k in range(CLASSES):
                expected[image, k] += exponents[k] / exponents.sum() / (1 + (-masks[image, query]).exp())
    torch.testing.assert_close(semantic_scores(classes, masks, torch.Size((5, 7))), expected)


def test_masks_are_resized_before_the_sigmoid():
    masks = torch.tensor([[[[-8.0, 8.0]]]])
    sure_of_class_0 = torch.tensor([[[50.0, 0.0]]])
    scores = semantic_scores(sure_of_class_0, masks, torch.Size((1, 4)))
    torch.testing.assert_close(scores, torch.tensor([[[[-8.0, -4.0, 4.0, 8.0]]]]).sigmoid())


def _fixed_points(monkeypatch):
    """The same points for all: what is left of the losses is the same in any order of computing them."""

    def spread(rows, count):
        steps = torch.arange(1, count + 1)[:, None] * torch.tensor([0.754877666, 0.569840291])
        return steps.frac().expand(rows, count, 2)

    monkeypatch.setattr(torch, "rand", lambda rows, count, _, device: spread(rows, count).clone())
    for module in (masks, points):
        monkeypatch.setattr(module, "random_points", lambda rows, count, device: 2 * spread(rows, count) - 1)


@pytest.mark.parametrize("unlabelled", [0, 1])
@pytest.mark.parametrize("padded", [False, True])
def test_terms_are_those_of_transformers_weighted_and_summed_over_layers(
    logits, labels, monkeypatch, unlabelled, padded
):
    """Values and gradients, with masks in lists or padded; images without labels count as if they were not there."""
    _fixed_points(monkeypatch)
    labels[:unlabelled] = 255
    found = []
    for criterion in (Mask2FormerLoss(_criterion_config(), WEIGHTS), _criterion()):
        ours = isinstance(criterion, MaskCriterion)
        given = tuple(values.clone().requires_grad_() for values in logits)
        seen, shown = (given, labels) if ours else ([each[:, unlabelled:] for each in given], labels[unlabelled:])
        losses = _losses(criterion, seen, mask_targets(shown, CLASSES) if ours and padded else _targets(shown))
        if not ours:
            losses = {name: weight * (losses[name] + losses[f"{name}_0"]) for name, weight in WEIGHTS.items()}
        sum(losses.values()).backward()
        found.append(({name: loss.detach() for name, loss in losses.items()}, [values.grad for values in given]))
    assert found[1][0].keys() == WEIGHTS.keys()
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-6)


def test_more_masks_than_queries(monkeypatch):
    _fixed_points(monkeypatch)
    generator = torch.Generator().manual_seed(3)
    layers = torch.randn(2, 1, 2, 8, 12, generator=generator), torch.randn(2, 1, 2, CLASSES + 1, generator=generator)
    labels = torch.arange(3).repeat(32, 16)[None]
    stock = _losses(Mask2FormerLoss(_criterion_config(), WEIGHTS), layers, _targets(labels))
    ours = _losses(_criterion(), layers, mask_targets(labels, CLASSES))
    for name, weight in WEIGHTS.items():
        torch.testing.assert_close(ours[name], weight * (stock[name] + stock[f"{name}_0"]))


def test_layers_that_are_asked_for_one_by_one_are_judged_at_once(logits, labels):
    """As an EoMT does."""
    criterion, targets = _criterion(), mask_targets(labels, CLASSES)
    with criterion.gathered() as layers:
        alone = [criterion(masks, classes, *targets) for masks, classes in zip(*logits, strict=True)]
    assert all(value == 0 for terms in alone for value in terms.values())
    torch.manual_seed(2)
    together = criterion.terms(layers, *targets)
    torch.manual_seed(2)
    first, last = ({"masks_queries_logits": m, "class_queries_logits": c} for m, c in zip(*logits, strict=True))
    assert together == criterion(*first.values(), *targets, [last])


def test_masks_are_sampled_as_grid_sample_does():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 5, 9, generator=generator) < 0.5
    points = 2 * torch.rand(3, 400, 2, generator=generator) - 1
    points[:, :4] = torch.tensor([[-1, -1], [1, 1], [-1, 1], [0.0, 0.0]])
    rows = torch.tensor([[2], [0], [1]])
    expected = sample(masks[rows[:, 0], None].float(), points[:, :, None])[:, 0]
    torch.testing.assert_close(sample_masks(with_margin(masks), rows, points), expected, atol=1e-6, rtol=0)


def _criterion_config():
    return Mask2FormerConfig(num_labels=CLASSES, train_num_points=200)


def test_settings_of_an_eomt_serve_as_well(logits, labels):
    config = EomtConfig(num_labels=CLASSES, train_num_points=200)
    ours = _losses(MaskCriterion(config, WEIGHTS), logits, mask_targets(labels, CLASSES))
    assert all(
        torch.equal(value, _losses(_criterion(), logits, mask_targets(labels, CLASSES))[name])
        for name, value in ours.items()
    )


def test_computes_in_float32_under_autocast(logits, labels):
    targets = mask_targets(labels, CLASSES)
    halves = tuple(values.bfloat16() for values in logits)
    exact = _losses(_criterion(), tuple(values.float() for values in halves), targets)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = _losses(_criterion(), halves, targets)
    assert all(torch.equal(mixed[name], value) for name, value in exact.items())
    assert all(value.dtype == torch.float32 for value in mixed.values())


@pytest.mark.parametrize("images", [1, 2])
def test_images_without_labels_teach_nothing(logits, labels, images):
    labels[:images] = 255
    masks, classes = (values.clone().requires_grad_() for values in logits)
    losses = _losses(_criterion(), (masks, classes), mask_targets(labels, CLASSES))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert not masks.grad[:, :images].any()
    assert not classes.grad[:, :images].any()
    assert classes.grad[:, images:].any() == (images < 2)
    if images == 2:
        assert all(value == 0 for value in losses.values())


def _masks_of_a_process(index: int, port: int, results: multiprocessing.Queue) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=index, world_size=2)
    results.put(average_count(torch.tensor([1, 6][index])).item())
    dist.destroy_process_group()


def test_masks_are_averaged_over_processes_once():
    assert average_count(torch.tensor(5)) == 5
    assert average_count(torch.tensor(0)) == 1
    context = multiprocessing.get_context("fork")
    results, port = context.Queue(), _free_port()
    workers = [context.Process(target=_masks_of_a_process, args=(i, port, results)) for i in range(2)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60), results.get(timeout=60)] == [3.5, 3.5]
    for worker in workers:
        worker.join()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
