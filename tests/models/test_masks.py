import multiprocessing

import pytest
import torch
import torch.distributed as dist
from transformers import EomtConfig, Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from minorkey.models.heads.masks import MaskCriterion, mask_targets, semantic_scores

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


def test_a_mask_for_each_class_that_is_there():
    labels = torch.tensor([[[0, 2], [2, 255]], [[1, 1], [1, 1]]])
    masks, classes = mask_targets(labels)
    assert [c.tolist() for c in classes] == [[0, 2], [1]]
    assert masks[0].tolist() == [[[1, 0], [0, 0]], [[0, 1], [1, 0]]]
    assert masks[1].tolist() == [[[1, 1], [1, 1]]]
    assert masks[0].dtype == torch.float32
    assert classes[0].dtype == torch.int64


def test_nothing_labelled_gives_no_mask():
    masks, classes = mask_targets(torch.full((1, 4, 6), 255))
    assert masks[0].shape == (0, 4, 6)
    assert classes[0].shape == (0,)


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


def test_terms_are_those_of_transformers_weighted_and_summed_over_layers(logits, labels):
    targets = mask_targets(labels)
    stock = _losses(Mask2FormerLoss(_criterion_config(), WEIGHTS), logits, targets)
    ours = _losses(_criterion(), logits, targets)
    assert ours.keys() == WEIGHTS.keys()
    for name, weight in WEIGHTS.items():
        torch.testing.assert_close(ours[name], weight * (stock[name] + stock[f"{name}_0"]))


def _criterion_config():
    return Mask2FormerConfig(num_labels=CLASSES, train_num_points=200)


def test_settings_of_an_eomt_serve_as_well(logits, labels):
    config = EomtConfig(num_labels=CLASSES, train_num_points=200)
    ours = _losses(MaskCriterion(config, WEIGHTS), logits, mask_targets(labels))
    assert all(
        torch.equal(value, _losses(_criterion(), logits, mask_targets(labels))[name]) for name, value in ours.items()
    )


def test_computes_in_float32_under_autocast(logits, labels):
    targets = mask_targets(labels)
    halves = tuple(values.bfloat16() for values in logits)
    exact = _losses(_criterion(), tuple(values.float() for values in halves), targets)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = _losses(_criterion(), halves, targets)
    assert all(torch.equal(mixed[name], value) for name, value in exact.items())
    assert all(value.dtype == torch.float32 for value in mixed.values())


@pytest.mark.parametrize("images", [1, 2])
def test_images_without_labels_have_no_mask_to_learn(logits, labels, images):
    labels[:images] = 255
    masks, classes = (values.clone().requires_grad_() for values in logits)
    losses = _losses(_criterion(), (masks, classes), mask_targets(labels))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert not masks.grad[:, :images].any()
    assert classes.grad[:, :images].any()  # every query is nothing
    if images == 2:
        assert losses["loss_mask"] == losses["loss_dice"] == 0


def _masks_of_a_process(index: int, port: int, results: multiprocessing.Queue) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=index, world_size=2)
    classes = [torch.arange(index + 1), torch.arange(4 * index)]  # 1 and 6 masks
    results.put(_criterion().get_num_masks(classes, torch.device("cpu")).item())
    dist.destroy_process_group()


def test_masks_are_averaged_over_processes_once():
    assert _criterion().get_num_masks([torch.arange(2), torch.arange(3)], torch.device("cpu")) == 5
    assert _criterion().get_num_masks([torch.arange(0)], torch.device("cpu")) == 1
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
