from dataclasses import replace

import numpy as np
import torch

from minorkey.data.photometric import Distortion, distort
from minorkey.data.sample import RawBatch, RawPair
from minorkey.tasks.detection.labels import HostBoxes

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def raw_batch(distorted: bool = True) -> RawBatch:
    """Two random images, the second one smaller than the batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 4, 6, 3), generator=generator, dtype=torch.uint8)
    sizes = torch.tensor([[4, 6], [3, 5]])
    images[1, 3:], images[1, :, 5:] = 0, 0
    distortions = torch.tensor([Distortion(brightness=0.1, hue=20), Distortion(contrast=0.7)]) if distorted else None
    labels = torch.full((2, 4, 6), 255, dtype=torch.uint8)
    return RawBatch(images, labels, sizes, distortions, MEAN, STD, ["d"] * 2, ["a", "b"], ["c.png: broken"])


def expected(images: torch.Tensor) -> torch.Tensor:
    normalised = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    normalised[1, :, 3:], normalised[1, :, :, 5:] = 0, 0
    return normalised


def test_clean_images_are_those_of_the_files():
    raw = raw_batch()
    batch = raw.to("cpu", keep_clean=True)
    images = raw.images.permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(batch.clean, expected(images), atol=1e-6)
    np.testing.assert_allclose(batch.pixel_values, expected(distort(images, raw.distortions)), atol=1e-6)
    assert not torch.equal(batch.clean, batch.pixel_values)


def test_clean_images_are_made_where_they_are_wanted_only():
    raw = raw_batch()
    plain = raw.to("cpu")
    assert plain.clean is None
    assert torch.equal(plain.pixel_values, raw.to("cpu", keep_clean=True).pixel_values)
    undistorted = raw_batch(distorted=False).to("cpu", keep_clean=True)
    assert torch.equal(undistorted.clean, undistorted.pixel_values)


def test_pair_keeps_clean_images_and_problems():
    pair = RawPair(source=raw_batch(distorted=False), target=raw_batch()).to("cpu")
    assert pair.source.clean is not None
    assert torch.equal(pair.target.clean, raw_batch().to("cpu", keep_clean=True).clean)
    assert pair.target.problems == ["c.png: broken"]
    assert (pair.target.share, pair.target.labels.unique().tolist()) == (1.0, [255])


def test_boxes_are_split_by_image():
    boxes = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    raw = replace(raw_batch(), labels=HostBoxes(boxes, torch.tensor([5, 6, 7]), [0, 3]))
    for batch in (raw.to("cpu"), raw.to("cpu", keep_clean=True)):
        assert [each.shape for each in batch.labels.boxes] == [(0, 4), (3, 4)]
        assert torch.equal(batch.labels.boxes[1], boxes)
        assert [each.tolist() for each in batch.labels.classes] == [[], [5, 6, 7]]
    assert replace(raw, labels=None).to("cpu").labels is None
