"""Sliding-window inference: a network trained on crops, run over images of any size."""

from collections.abc import Callable, Iterator
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
    bands = [logits for _, logits in sliding_bands(predict, pixel_values, window, stride, batch_size)]
    return bands[0] if len(bands) == 1 else torch.cat(bands, dim=2)


@torch.no_grad()
def sliding_bands(
    predict: Callable[[Tensor], Tensor],
    pixel_values: Tensor,
    window: Size | None,
    stride: Size | None = None,
    batch_size: int = 8,
) -> Iterator[tuple[int, Tensor]]:
    """As `sliding_logits`, from the top to the bottom: rows as soon as no further window reaches them.

    No more than the rows of the windows at work is held, about two rows of windows, whatever the height of the image.

    Returns:
        The first row of each band, and its logits `(B, K, rows, W)`.
    """
    if window is None:
        yield 0, torch.cat([predict(images) for images in pixel_values.split(batch_size)])
        return
    height, width = pixel_values.shape[-2:]
    below, right = max(0, window[0] - height), max(0, window[1] - width)
    padded = pad(pixel_values, (0, right, 0, below)) if below or right else pixel_values
    boxes = window_boxes(height + below, width + right, window, stride or default_stride(window))
    coverage = _coverage(boxes, padded.shape[-2:]).to(pixel_values.device)
    for top, total in _summed_bands(predict, padded, boxes, batch_size):
        rows = min(total.shape[2], height - top)
        if rows > 0:
            yield top, total.div_(coverage[top : top + total.shape[2]])[:, :, :rows, :width]


def default_stride(window: Size) -> Size:
    """Two thirds of the window, the stride of the domain generalization benchmarks (512: 341, 1024: 683)."""
    return round(window[0] * 2 / 3), round(window[1] * 2 / 3)


def _summed_bands(
    predict: Callable[[Tensor], Tensor], images: Tensor, boxes: list[Box], batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """The first row of each band and the sums of its windows' logits, `(B, K, rows, W)`."""
    places = [(index, box) for box in boxes for index in range(len(images))]
    top, total = 0, None
    for start in range(0, len(places), batch_size):
        chunk = places[start : start + batch_size]
        logits = predict(torch.stack([images[i, :, y0:y1, x0:x1] for i, (y0, x0, y1, x1) in chunk]))
        if total is None:
            total = logits.new_zeros(len(images), logits.shape[1], 0, images.shape[-1])
        lowest = chunk[-1][1][2]
        if (missing := lowest - top - total.shape[2]) > 0:
            total = pad(total, (0, 0, 0, missing))
        for (i, (y0, x0, y1, x1)), crop_logits in zip(chunk, logits, strict=True):
            total[i, :, y0 - top : y1 - top, x0:x1] += crop_logits
        following = places[start + batch_size : start + batch_size + 1]
        done = following[0][1][0] if following else lowest
        if done > top:
            yield top, total[:, :, : done - top]
            top, total = done, total[:, :, done - top :]


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
