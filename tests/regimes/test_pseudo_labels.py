import numpy as np
import pytest
import torch

from minorkey.labels import IGNORE_INDEX
from minorkey.tasks.pseudo_labels import pseudo_labels


@pytest.fixture
def probabilities():
    logits = 8 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    logits[1] *= 0.3  # an image of less confidence
    return logits.softmax(1)


@pytest.mark.parametrize("padded", [False, True])
def test_against_a_loop_over_pixels(probabilities, padded):
    """Padding counts nowhere: it has no label, is not kept, and is no part of the share."""
    filled = torch.ones(2, 6, 7, dtype=torch.bool)
    filled[0, 4:] = not padded
    found = pseudo_labels(probabilities, threshold=0.9, filled=filled if padded else None)
    for i, image in enumerate(probabilities.numpy()):
        sure = 0
        for y, x in np.ndindex(6, 7):
            best = max(range(5), key=lambda k: image[k, y, x])
            shown = bool(filled[i, y, x])
            kept = image[best, y, x] >= 0.9 and shown
            sure += kept
            assert found.confidence[i, y, x] == image[best, y, x]
            assert found.kept[i, y, x] == kept
            assert found.labels[i, y, x] == (best if shown else IGNORE_INDEX)
        pixels = int(filled[i].sum())
        assert 0 < sure < pixels
        np.testing.assert_allclose(found.weights[i], sure / pixels, rtol=1e-6)
    assert found.weights[0, 0, 0] > found.weights[1, 0, 0]


def test_the_threshold_itself_is_sure():
    probabilities = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1)
    assert pseudo_labels(probabilities, threshold=0.75).kept.all()
    assert not pseudo_labels(probabilities, threshold=0.76).kept.any()


def test_there_is_no_graph(probabilities):
    found = pseudo_labels(probabilities.requires_grad_())
    assert not found.weights.requires_grad
    assert not found.confidence.requires_grad
    assert found.labels.dtype == torch.int64
