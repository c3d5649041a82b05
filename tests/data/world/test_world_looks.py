"""What the pictures of the built-in world must be like: real shifts, and no class known by its colour."""

import numpy as np
import pytest

from minorkey.world import DOMAINS, render, render_paired

SAMPLES = 30


def mean_iou(labels: np.ndarray, predicted: np.ndarray) -> float:
    matrix = np.bincount(labels.astype(np.int64) * 19 + predicted, minlength=361).reshape(19, 19)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    present = matrix.sum(1) > 0
    return float((np.diag(matrix)[present] / union[present]).mean())


def pixels(start: int) -> tuple[np.ndarray, np.ndarray]:
    samples = [render(0, start + i, size=(128, 64)) for i in range(SAMPLES)]
    colours = np.concatenate([s.image.reshape(-1, 3) for s in samples]).astype(np.float32)
    return colours, np.concatenate([s.labels.ravel() for s in samples])


def test_colour_alone_does_not_tell_classes_apart():
    colours, labels = pixels(0)
    present = np.unique(labels)
    means = np.stack([colours[labels == k].mean(0) for k in present])
    bins = (colours // 16).astype(np.int64) @ np.array([256, 16, 1])
    votes = np.bincount(bins * 19 + labels, minlength=4096 * 19).reshape(4096, 19)
    unseen, truth = pixels(1000)
    nearest = present[((unseen[:, None] - means) ** 2).sum(-1).argmin(1)]
    most_frequent = votes.argmax(1)[(unseen // 16).astype(np.int64) @ np.array([256, 16, 1])]
    assert mean_iou(truth, nearest) < 0.25
    assert mean_iou(truth, most_frequent) < 0.35


def test_every_domain_looks_different():
    names = [name for name in DOMAINS if not name.startswith("suburb-")]
    sets = [render_paired(0, i, names, (128, 64)) for i in range(4)]
    images = np.array([[s.image.astype(np.float32) for s in paired] for paired in sets])
    for a in range(len(names)):
        for b in range(a):
            assert np.abs(images[:, a] - images[:, b]).mean() > 8, (names[a], names[b])


def test_night_is_dark_and_infrared_is_grey_with_warm_people():
    brightness = []
    for index in range(8):
        clear, night, infrared = render_paired(6, index, ["clear", "night", "infrared"])
        brightness.append(night.image.mean() / clear.image.mean())
        heat = infrared.image.astype(np.float32)
        assert np.ptp(heat.mean((0, 1))) < 3  # grey but for the noise of the channels
        people = infrared.labels == 11
        if people.sum() > 50:
            assert heat[people].mean() > heat[infrared.labels == 2].mean() + 30
    assert np.mean(brightness) < 0.6


def test_fog_takes_contrast_with_distance():
    near_ratio, far_ratio = [], []
    for index in range(6):
        clear, fog = render_paired(7, index, ["clear", "fog"])
        for ratios, inside in (
            (near_ratio, clear.depth < 10),
            (far_ratio, (clear.depth > 60) & (clear.depth < 140)),
        ):
            ratios.append(fog.image[inside].std() / clear.image[inside].std())
    assert np.mean(far_ratio) < 0.5 * np.mean(near_ratio)


@pytest.mark.parametrize("domain", DOMAINS)
def test_surfaces_are_textured(domain):
    """Colours differ inside a class: no class of an image is one flat colour."""
    s = render(0, 3, domain)
    for train_id in (0, 2, 8):
        inside = s.image[s.labels == train_id].astype(np.float32)
        assert len(np.unique(inside.astype(np.uint8), axis=0)) > 20
