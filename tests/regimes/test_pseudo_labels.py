import numpy as np
import pytest
import torch

from minorkey.data.sample import IGNORE_INDEX
from minorkey.regimes.pseudo_labels import pseudo_labels


@pytest.fixture
def probabilities():
    logits = 8 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    logits[1] *= 0.3  # an image of less confidence
    return logits.softmax(1)


@pytest.mark.parametrize("hard", [False, True])
def test_against_a_loop_over_pixels(probabilities, hard):
    found = pseudo_labels(probabilities, threshold=0.9, hard=hard)
    for i, image in enumerate(probabilities.numpy()):
        sure = 0
        for y, x in np.ndindex(6, 7):
            best = max(range(5), key=lambda k: image[k, y, x])
            kept = image[best, y, x] >= 0.9
            sure += kept
            assert found.confidence[i, y, x] == image[best, y, x]
            assert found.kept[i, y, x] == kept
            assert found.labels[i, y, x] == (best if kept or not hard else IGNORE_INDEX)
        assert 0 < sure < 42
        np.testing.assert_allclose(found.weights[i], sure / 42, rtol=1e-6)
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
