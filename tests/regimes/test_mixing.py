import numpy as np
import pytest
import torch

from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.segmentation.mixing import class_mask, mix


@pytest.fixture
def labels():
    """Five classes, one class, two classes; some pixels to ignore; and an image of nothing else."""
    rng = np.random.default_rng(0)
    choices = [[0, 3, 7, 18, 254, 255], [4, 255], [1, 2], [255]]
    return torch.from_numpy(np.stack([rng.choice(present, (8, 8)) for present in choices]))


def test_half_of_the_classes_rounded_up(labels):
    for seed in range(20):
        mask = class_mask(labels, torch.Generator().manual_seed(seed))
        for image, taken, count in zip(labels.numpy(), mask.numpy(), (3, 1, 1, 0), strict=True):
            classes = set(image[taken])
            assert len(classes) == count
            assert IGNORE_INDEX not in classes
            for value in classes:  # whole classes
                assert taken[image == value].all()


def test_every_class_has_the_same_chance(labels):
    generator = torch.Generator().manual_seed(0)
    masks = torch.stack([class_mask(labels, generator) for _ in range(1000)])
    for value in (0, 3, 7, 18, 254):
        share = masks[:, 0][:, labels[0] == value].float().mean().item()
        assert abs(share - 3 / 5) < 0.05  # three standard errors


def test_images_draw_on_their_own():
    labels = torch.arange(64).view(1, 8, 8).repeat(2, 1, 1)
    first, second = class_mask(labels, torch.Generator().manual_seed(0))
    assert not torch.equal(first, second)


def test_same_generator_same_mask(labels):
    masks = [class_mask(labels, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*masks)


def test_mix_takes_each_pixel_from_its_side(labels):
    mask = class_mask(labels, torch.Generator().manual_seed(0))
    rng = np.random.default_rng(1)
    for shape in ((4, 3, 8, 8), (4, 8, 8)):
        source, target = (torch.from_numpy(rng.normal(size=shape)) for _ in range(2))
        mixed = mix(mask, source, target).numpy()
        for index in np.ndindex(shape):
            taken = mask[index[0], index[-2], index[-1]]
            assert mixed[index] == (source if taken else target)[index]
