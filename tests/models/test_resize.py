import pytest
import torch
import torch.nn.functional as F

from minorkey.errors import ModelError
from minorkey.models.resize import fit_state_dict, resize_patch_kernel, resize_position_grid


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_patch_kernel_is_resized_bicubically(generator):
    kernel = torch.randn(6, 3, 14, 14, generator=generator)
    resized = resize_patch_kernel(kernel, (16, 16))
    assert torch.equal(resized, F.interpolate(kernel, size=(16, 16), mode="bicubic", align_corners=False))
    torch.testing.assert_close(resize_patch_kernel(kernel, (14, 14)), kernel)
    assert resize_patch_kernel(kernel.bfloat16(), (8, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_position_grid_is_resized_and_its_prefix_kept(generator, prefix):
    embedding = torch.randn(1, prefix + 36, 4, generator=generator)
    torch.testing.assert_close(resize_position_grid(embedding, prefix + 36), embedding)
    resized = resize_position_grid(embedding, prefix + 64)
    assert torch.equal(resized[:, :prefix], embedding[:, :prefix])
    grid = embedding[0, prefix:].T.reshape(4, 6, 6)  # rows first, as the patches come
    expected = F.interpolate(grid[None], size=(8, 8), mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(resized[0, prefix:], expected.reshape(4, 64).T)


def test_position_grid_must_stay_square(generator):
    with pytest.raises(ModelError, match=r"37 tokens to 30: expected 1 prefix token\(s\) and a square grid"):
        resize_position_grid(torch.randn(1, 37, 4, generator=generator), 30)


def test_what_fits_is_taken_as_it_is(generator):
    state = {"a": torch.randn(3, 2, generator=generator), "unused": torch.zeros(1)}
    assert fit_state_dict(state, {"a": torch.zeros(3, 2)})["a"] is state["a"]


def test_missing_and_misshapen_weights_are_named():
    with pytest.raises(ModelError, match="hold no 'a', which the backbone needs"):
        fit_state_dict({}, {"a": torch.zeros(2)})
    with pytest.raises(ModelError, match=r"'a' has shape \(3,\) .* to \(2,\); leave patch_size and image_size"):
        fit_state_dict({"a": torch.zeros(3)}, {"a": torch.zeros(2)})
