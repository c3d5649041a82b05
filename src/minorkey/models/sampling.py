"""Sampling a map at points, in operations that every runtime has: `grid_sample` as gathers."""

import torch
from torch import Tensor

from minorkey.errors import ModelError


def gathered_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """As `torch.nn.functional.grid_sample`, bilinear, with zeros outside and corners that are not aligned.

    A point (x, y) lies between four cells; each is gathered, weighted by its share
    w = (1 - |x - x_i|)(1 - |y - y_i|), and counts 0 where it lies outside.

    Args:
        input: maps `(B, C, H, W)`.
        grid: points `(B, h, w, 2)`, x y from -1 to 1, the edges of the map.
        mode: bilinear.
        padding_mode: zeros.
        align_corners: False.

    Returns:
        `(B, C, h, w)`.

    Raises:
        ModelError: sampling of another kind.
    """
    if (mode, padding_mode, bool(align_corners), input.ndim) != ("bilinear", "zeros", False, 4):
        raise ModelError(
            f"sampling {mode} with {padding_mode} in {input.ndim} dimensions cannot be written as gathers; leave "
            "--gathers out"
        )
    height, width = input.shape[-2:]
    x, y = ((grid[..., 0] + 1) * width - 1) / 2, ((grid[..., 1] + 1) * height - 1) / 2
    left, top = x.floor(), y.floor()
    flat = input.flatten(2)
    total = torch.zeros((), dtype=input.dtype, device=input.device)
    for column in (left, left + 1):
        for row in (top, top + 1):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
            places = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1)
            found = flat.gather(2, places[:, None].expand(-1, flat.shape[1], -1))
            total = total + found.unflatten(2, grid.shape[1:3]) * share[:, None].to(input.dtype)
    return total
