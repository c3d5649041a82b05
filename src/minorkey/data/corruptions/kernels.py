"""Blur kernels, and convolution with them by fast Fourier transform."""

import numpy as np
from scipy import fft


def disc(radius: float) -> np.ndarray:
    """An even disc with a soft rim, `(K, K)`, sum 1: the image of a point that is out of focus.

    The rim falls linearly over one pixel, so that the area follows the radius without steps.
    """
    reach = int(np.ceil(radius + 0.5))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = (radius + 0.5 - np.hypot(rows, columns)).clip(0, 1).astype(np.float32)
    return kernel / kernel.sum()


def trail(length: float, sigma: float, degrees: float) -> np.ndarray:
    """The trace of a moving point, `(K, K)`, sum 1, its centre of mass in the middle.

    Along the way it falls as the positive half of a Gaussian.

    Args:
        length: where the trace is cut off, in pixels.
        sigma: of the Gaussian, in pixels.
        degrees: direction of the motion; 0 is to the right, 90 is down.
    """
    along = np.arange(0, length + 0.25, 0.5)
    weights = np.exp(-(along**2) / (2 * sigma**2))
    along -= weights @ along / weights.sum()
    reach = int(np.ceil(np.abs(along).max())) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    rows, columns = reach + along * np.sin(np.radians(degrees)), reach + along * np.cos(np.radians(degrees))
    _spread(kernel, rows, columns, weights)
    return (kernel / kernel.sum()).astype(np.float32)


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve an image (H, W) or (H, W, C) float32 with a kernel (K, K), K odd, the image mirrored at its borders."""
    margin = len(kernel) // 2
    padding = [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2)
    padded = np.pad(image, padding, mode="symmetric")
    height, width = padded.shape[:2]
    shape = (fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True))
    response = fft.rfft2(kernel, shape)
    planes = np.moveaxis(padded.reshape(height, width, -1), 2, 0)
    blurred = np.stack([fft.irfft2(fft.rfft2(plane, shape) * response, shape) for plane in planes], axis=-1)
    inside = blurred[2 * margin : height, 2 * margin : width]
    return inside.reshape(image.shape)


def _spread(kernel: np.ndarray, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> None:
    """Add weights at fractional places, each shared by its four pixels."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows - top, columns - left
    np.add.at(kernel, (top, left), weights * (1 - down) * (1 - right))
    np.add.at(kernel, (top, left + 1), weights * (1 - down) * right)
    np.add.at(kernel, (top + 1, left), weights * down * (1 - right))
    np.add.at(kernel, (top + 1, left + 1), weights * down * right)
