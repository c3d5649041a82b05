"""Sliding-window inference: a network trained on crops, run over images of any size."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor
from torch.nn.functional import pad

Size = tuple[int, int]
Box = tuple[int, int, int, int]


def window_boxes(height: int, width: int, window: Size, stride: Size) -> list[Box]:
    """Windows that cover an image, row by row.

    The last window of each row and column is moved back so that it ends at the border, as in
    mmsegmentation's `slide` test mode. Along a side shorter than the window there is one window, cut to
    the image.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        window: Height and width of a window in pixels.
        stride: Vertical and horizontal step in pixels; at most the window, or pixels would be missed.

    Returns:
        Boxes `(y0, x0, y1, x1)`, y1 and x1 exclusive.

    Raises:
        ValueError: A stride is not between 1 and the window.
    """
    rows = _spans(height, window[0], stride[0])
    columns = _spans(width, window[1], stride[1])
    return [(y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns]


@torch.no_grad()
def sliding_logits(
    predict: Callable[[Tensor], Tensor],
    pixel_values: Tensor,
    window: Size | None,
    stride: Size | None = None,
    batch_size: int = 8,
) -> Tensor:
    """Logits of whole images, averaged where windows overlap.

    The *logits* are averaged, not the probabilities, as in the reference protocol of segmentation
    benchmarks (mmsegmentation). Every window has the same size: an image smaller than the window is padded
    at the bottom and the right with zeros, which is the mean colour after normalisation, and the padding is
    cut off again.

    Args:
        predict: Maps crops `(n, 3, h, w)` to logits `(n, K, h, w)` of the same height and width.
        pixel_values: Normalised images `(B, 3, H, W)`.
        window: Height and width of a window; `None` feeds the whole image.
        stride: Step of the window; `None` means two thirds of it.
        batch_size: Most crops per call of `predict`.

    Returns:
        Logits `(B, K, H, W)`.
    """
    if window is None:
        return torch.cat([predict(images) for images in pixel_values.split(batch_size)])
    height, width = pixel_values.shape[-2:]
    below, right = max(0, window[0] - height), max(0, window[1] - width)
    padded = pad(pixel_values, (0, right, 0, below))
    boxes = window_boxes(height + below, width + right, window, stride or default_stride(window))
    return _averaged_logits(predict, padded, boxes, batch_size)[..., :height, :width]


def default_stride(window: Size) -> Size:
    """Two thirds of the window, the stride of the domain generalization benchmarks (512: 341, 1024: 683)."""
    return round(window[0] * 2 / 3), round(window[1] * 2 / 3)


def _averaged_logits(predict: Callable[[Tensor], Tensor], images: Tensor, boxes: list[Box], batch_size: int) -> Tensor:
    places = [(index, box) for index in range(len(images)) for box in boxes]
    total = None
    for start in range(0, len(places), batch_size):
        chunk = places[start : start + batch_size]
        crops = torch.stack([images[i, :, y0:y1, x0:x1] for i, (y0, x0, y1, x1) in chunk])
        logits = predict(crops)
        if total is None:
            total = logits.new_zeros(len(images), logits.shape[1], *images.shape[-2:])
        for (i, (y0, x0, y1, x1)), crop_logits in zip(chunk, logits, strict=True):
            total[i, :, y0:y1, x0:x1] += crop_logits
    assert total is not None
    return total.div_(_coverage(boxes, images.shape[-2:]).to(total))


def _coverage(boxes: list[Box], size: Size | torch.Size) -> Tensor:
    """How many windows cover each pixel, `(H, W)`."""
    count = torch.zeros(*size)
    for y0, x0, y1, x1 in boxes:
        count[y0:y1, x0:x1] += 1
    return count


def _spans(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride} is not between 1 and the window of {window} pixels")
    steps = ceil(max(length - window, 0) / stride) + 1
    ends = [min(step * stride + window, length) for step in range(steps)]
    return [(max(end - window, 0), end) for end in ends]
