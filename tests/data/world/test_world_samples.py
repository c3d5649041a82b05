"""What a sample of the built-in world promises: reproducible, paired, consistent, and clear errors."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from minorkey.data.sample import Sample
from minorkey.errors import DataError
from minorkey.world import DETECTION_CLASSES, DOMAINS, render, render_paired

TOWN = [name for name, domain in DOMAINS.items() if domain.layout == "town"]
TRAIN_IDS = {"bus": 15, "bike": 18, "car": 13, "motor": 17, "person": 11, "rider": 12, "truck": 14}

DIGEST = """
import hashlib
from minorkey.world import DOMAINS, render_paired
digest = hashlib.sha256()
for s in render_paired(5, 7, list(DOMAINS), (128, 64)):
    for a in (s.image, s.labels, s.depth, s.boxes, s.box_classes):
        digest.update(a.tobytes())
print(digest.hexdigest())
"""


def arrays(sample: Sample) -> list[np.ndarray]:
    return [sample.image, sample.labels, sample.depth, sample.boxes, sample.box_classes]


def test_names_and_order():
    assert list(DOMAINS) == [
        "clear",
        "dusk",
        "night",
        "fog",
        "rain",
        "snow",
        "glare",
        "infrared",
        "elsewhere",
        *(f"suburb-{name}" for name in TOWN),
    ]
    assert all(name == domain.name and domain.description for name, domain in DOMAINS.items())
    assert set(DETECTION_CLASSES) == set(TRAIN_IDS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_fields_and_shapes(domain):
    s = render(0, 12, domain, (192, 96))
    assert (s.image.shape, s.image.dtype) == ((96, 192, 3), np.uint8)
    assert (s.labels.shape, s.labels.dtype) == ((96, 192), np.uint8)
    assert (s.depth.shape, s.depth.dtype) == ((96, 192), np.float32)
    assert (s.boxes.dtype, s.box_classes.dtype) == (np.float32, np.int64)
    assert s.boxes.shape == (len(s.box_classes), 4)
    assert (s.domain, s.key) == (domain, "0-000012")
    assert s.labels.max() <= 18


def test_same_bytes_in_other_processes():
    runs = [subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout
    digest = hashlib.sha256()
    for name in DOMAINS:  # one by one and in pairs must agree too
        for a in arrays(render(5, 7, name, (128, 64))):
            digest.update(a.tobytes())
    assert digest.hexdigest() == runs[0].stdout.strip()


def test_domains_of_the_town_are_pixel_paired():
    for index in range(3):
        first, *others = render_paired(2, index, TOWN)
        for other in others:
            for mine, theirs in zip(arrays(first)[1:], arrays(other)[1:], strict=True):
                np.testing.assert_array_equal(mine, theirs)
    elsewhere = render(2, 0, "elsewhere")
    assert (elsewhere.labels != render(2, 0).labels).mean() > 0.1


def test_seeds_and_indices_give_different_scenes():
    labels = [render(seed, index).labels for seed in (0, 1) for index in (0, 1)]
    assert all((a != b).mean() > 0.05 for i, a in enumerate(labels) for b in labels[:i])


def test_at_least_fifteen_classes_in_sixty_samples():
    counts = sum(np.bincount(render(0, i, size=(128, 64)).labels.ravel(), minlength=19) for i in range(60))
    assert (counts > 0).sum() >= 15
    assert counts[16] == 0  # there are no trains
    assert (counts[:16] > 0).sum() == 16


def test_boxes_hold_their_class_and_stay_inside():
    seen = set()
    for index in range(25):
        s = render(3, index)
        for (x0, y0, x1, y1), kind in zip(s.boxes.astype(int), s.box_classes, strict=True):
            assert 0 <= x0 < x1 <= 256
            assert 0 <= y0 < y1 <= 128
            inside = s.labels[y0:y1, x0:x1] == TRAIN_IDS[DETECTION_CLASSES[kind]]
            assert inside.any(0)[[0, -1]].all()  # the box is tight on all four sides
            assert inside.any(1)[[0, -1]].all()
            seen.add(DETECTION_CLASSES[kind])
        # every pixel of a boxed class lies in a box of that class, but for instances too small for one
        for name, train_id in TRAIN_IDS.items():
            covered = np.zeros(s.labels.shape, bool)
            for (x0, y0, x1, y1), kind in zip(s.boxes.astype(int), s.box_classes, strict=True):
                covered[y0:y1, x0:x1] |= DETECTION_CLASSES[kind] == name
            assert ((s.labels == train_id) & ~covered).sum() <= 60
    assert seen == set(DETECTION_CLASSES)


def test_depth_is_positive_and_infinite_only_in_the_sky():
    for index in range(8):
        s = render(4, index)
        np.testing.assert_array_equal(np.isinf(s.depth), s.labels == 10)
        assert s.depth.min() > 0


def test_sizes_show_the_same_scene():
    small, large = render(0, 5, size=(128, 64)), render(0, 5, size=(512, 256))
    shrunk = large.labels[2::4, 2::4]
    assert (shrunk == small.labels).mean() > 0.85
    assert render(0, 5, size=(64, 32)).image.shape == (32, 64, 3)


def test_unknown_domain_offers_the_closest():
    with pytest.raises(DataError, match=r"unknown domain 'nigth'; did you mean 'night'\? Known: clear, dusk"):
        render(0, 0, "nigth")


@pytest.mark.parametrize("size", [(255, 128), (256, 127), (62, 32), (64, 30)])
def test_size_out_of_range(size):
    with pytest.raises(DataError, match=rf"size {size[0]}x{size[1]} .* must be even and at least 64x32"):
        render(0, 0, size=size)


def test_negative_seed_or_index():
    with pytest.raises(DataError, match="seed -1 and index 0 of the built-in world must be 0 or more"):
        render(-1, 0)
    with pytest.raises(DataError, match="index -3"):
        render(0, -3)
