import numpy as np
import pytest
import torch

from minorkey.regimes.self_training.masking import patch_mask


def _mask(batch, height, width, **options):
    generator = torch.Generator().manual_seed(0)
    return patch_mask(torch.zeros(batch, 3, height, width), generator=generator, **options).numpy()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 70), (16, 8)])
def test_patches_are_whole(height, width):
    mask = _mask(3, height, width, patch=16, ratio=0.5)
    assert mask.shape == (3, 1, height, width)
    assert mask.dtype == bool
    for image in mask[:, 0]:
        for top in range(0, height, 16):
            for left in range(0, width, 16):
                assert len(set(image[top : top + 16, left : left + 16].ravel())) == 1


def test_patches_are_hidden_on_their_own():
    visible = _mask(50, 80, 80, patch=8)[:, 0, ::8, ::8].reshape(50, -1)
    shares = visible.mean(axis=1)
    assert abs(shares.mean() - 0.3) < 0.02  # three standard errors of 5000 patches
    assert 0.6 < shares.std() / np.sqrt(0.3 * 0.7 / 100) < 1.4  # that of 100 independent ones
    assert abs(np.corrcoef(visible[:, :-1].ravel(), visible[:, 1:].ravel())[0, 1]) < 0.05


def test_everything_or_nothing():
    assert _mask(2, 40, 40, ratio=0.0).all()
    assert not _mask(2, 40, 40, ratio=1.0).any()
