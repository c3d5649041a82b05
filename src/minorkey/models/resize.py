"""Fit pretrained weights to another patch size or image size."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from minorkey.errors import ModelError


def resize_patch_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resize of a patch-embedding kernel `(C_out, C_in, h, w)` to `size` = (h', w').

    The recipe of SoMA (arXiv 2412.04077) and Rein for DINOv2, patch 14 -> 16: plain interpolation of the
    kernel, without the pseudo-inverse of FlexiViT (arXiv 2212.08013).
    """
    resized = F.interpolate(kernel.float(), size=size, mode="bicubic", align_corners=False)
    return resized.to(kernel.dtype)


def resize_position_grid(embedding: Tensor, tokens: int) -> Tensor:
    """Bicubic resize of a position embedding `(1, prefix + g*g, C)` to `tokens` = prefix + g'*g'.

    The prefix (class or register tokens) is whatever does not fit in a square grid; it is kept as it is.

    Raises:
        ModelError: the target is not the same prefix plus a square grid.
    """
    grid = math.isqrt(embedding.shape[1])
    prefix = embedding.shape[1] - grid * grid
    target = math.isqrt(tokens - prefix)
    if target * target + prefix != tokens:
        raise ModelError(
            f"cannot resize a position embedding of {embedding.shape[1]} tokens to {tokens}: "
            f"expected {prefix} prefix token(s) and a square grid"
        )
    head, body = embedding[:, :prefix], embedding[:, prefix:]
    square = body.reshape(1, grid, grid, -1).permute(0, 3, 1, 2).float()
    resized = F.interpolate(square, size=(target, target), mode="bicubic", align_corners=False)
    flat = resized.permute(0, 2, 3, 1).reshape(1, target * target, -1).to(embedding.dtype)
    return torch.cat([head, flat], dim=1)


def fit_state_dict(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Resize the entries of `state` whose shape differs from `wanted`: patch kernels and position grids.

    Raises:
        ModelError: an entry is missing, or its shape differs in a way that resizing cannot mend.
    """
    fitted = {}
    for name, target in wanted.items():
        if name not in state:
            raise ModelError(f"the pretrained weights hold no '{name}', which the backbone needs")
        value = state[name]
        if value.shape == target.shape:
            fitted[name] = value
        elif value.ndim == 4 and value.shape[:2] == target.shape[:2]:
            fitted[name] = resize_patch_kernel(value, (target.shape[2], target.shape[3]))
        elif value.ndim == 3 and value.shape[::2] == target.shape[::2]:
            fitted[name] = resize_position_grid(value, target.shape[1])
        else:
            raise ModelError(
                f"'{name}' has shape {tuple(value.shape)} and cannot be resized to {tuple(target.shape)}; "
                "leave patch_size and image_size as pretrained"
            )
    return fitted
