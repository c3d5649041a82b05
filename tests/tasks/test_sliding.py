import pytest
import torch

from minorkey.tasks.sliding import default_stride, sliding_bands, sliding_logits, window_boxes


def naive_logits(predict, image, window, stride):
    """Independent reference: walk start positions, clamp them to the border, count as we go."""
    _, height, width = image.shape
    total, count = None, torch.zeros(height, width)

    def starts(length, size, step):
        positions = list(range(0, max(length - size, 0), step))
        return [*positions, max(length - size, 0)]

    for y in starts(height, window[0], stride[0]):
        for x in starts(width, window[1], stride[1]):
            logits = predict(image[None, :, y : y + window[0], x : x + window[1]])[0]
            if total is None:
                total = torch.zeros(logits.shape[0], height, width)
            total[:, y : y + window[0], x : x + window[1]] += logits
            count[y : y + window[0], x : x + window[1]] += 1
    return total / count


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Conv2d(3, 4, 5, padding=2)


def test_boxes_of_a_known_case():
    assert window_boxes(6, 10, (4, 4), (3, 3)) == [
        (0, 0, 4, 4), (0, 3, 4, 7), (0, 6, 4, 10),
        (2, 0, 6, 4), (2, 3, 6, 7), (2, 6, 6, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(64, 64), (65, 130), (100, 64), (20, 200), (20, 20)])
def test_boxes_cover_every_pixel_and_stay_inside(size):
    covered = torch.zeros(size)
    for y0, x0, y1, x1 in window_boxes(*size, (64, 64), (43, 43)):
        assert 0 <= y0 < y1 <= size[0]
        assert 0 <= x0 < x1 <= size[1]
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1


def test_stride_larger_than_window_is_refused():
    with pytest.raises(ValueError, match="stride 5 is not between 1 and the window of 4 pixels"):
        window_boxes(10, 10, (4, 4), (5, 5))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_logits_equal_the_naive_loop(network, batch_size):
    images = torch.randn(2, 3, 23, 31)
    found = sliding_logits(network, images, (12, 16), (8, 11), batch_size)
    expected = torch.stack([naive_logits(network, image, (12, 16), (8, 11)) for image in images])
    assert torch.allclose(found, expected, atol=1e-5)


def test_small_image_is_padded_to_the_window(network):
    sizes = []

    def predict(crops):
        sizes.append(tuple(crops.shape[-2:]))
        return network(crops)

    image = torch.randn(1, 3, 7, 30)
    found = sliding_logits(predict, image, (12, 12), (8, 8))
    assert set(sizes) == {(12, 12)}
    padded = torch.zeros(3, 12, 30)
    padded[:, :7] = image[0]
    assert torch.allclose(found[0], naive_logits(network, padded, (12, 12), (8, 8))[:, :7], atol=1e-5)


def test_without_window_the_whole_image_is_fed(network):
    images = torch.randn(5, 3, 9, 14)
    assert torch.allclose(sliding_logits(network, images, None, batch_size=2), network(images), atol=1e-6)


def test_default_stride_is_that_of_the_benchmarks():
    assert default_stride((512, 1024)) == (341, 683)


@pytest.mark.parametrize("batch_size", [1, 2, 8, 99])
@pytest.mark.parametrize("size", [(20, 9), (7, 30), (33, 21)])
def test_bands_are_the_whole_from_top_to_bottom(network, size, batch_size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    bands = list(sliding_bands(network, images, (8, 12), (5, 7), batch_size))
    tops, heights = [top for top, _ in bands], [band.shape[2] for _, band in bands]
    assert tops == [sum(heights[:place]) for place in range(len(heights))]
    torch.testing.assert_close(
        torch.cat([band for _, band in bands], dim=2), sliding_logits(network, images, (8, 12), (5, 7), 99)
    )
    assert batch_size > 1 or size[0] < 8 or max(heights) < size[0]
    for image, whole in zip(images, sliding_logits(network, images, (8, 12), (5, 7), batch_size), strict=True):
        if min(size) >= 12:
            with torch.no_grad():
                torch.testing.assert_close(whole, naive_logits(network, image, (8, 12), (5, 7)))
