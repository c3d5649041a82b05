"""In which precision a network computes: what a device has, what `auto` means on it, and passes in a given one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import nn

from minorkey.errors import ConfigError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""`fp32` is exact float32. `tf32` rounds the factors of its products to 10 bits of mantissa, as tensor cores of NVIDIA
do. `bf16` and `fp16` are autocast: products in half precision, what must not be rounded in float32."""

Asked = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}

NAMES: dict[Precision, str] = {"fp32": "float32", "tf32": "TF32", "bf16": "bfloat16", "fp16": "float16"}
"""As protocols are described with."""


class Units(NamedTuple):
    """What a device has circuits for."""

    device: str  # type of the device: cpu, cuda, mps, xpu
    bf16: bool = False
    tf32: bool = False


def units_of(device: torch.device) -> Units:
    """What a device computes by itself; bfloat16 that a driver emulates (T4, V100) does not count."""
    if device.type == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        tf32 = torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)
        return Units("cuda", bf16, tf32)
    if device.type == "xpu":
        return Units("xpu", torch.xpu.is_bf16_supported())
    if device.type == "mps":
        return Units("mps", torch.backends.mps.is_macos_or_newer(14, 0))
    return Units(device.type)


def training_precision(asked: Asked, units: Units) -> Precision:
    """The precision of a training; `auto`: bf16, fp16 on a CUDA GPU that lacks it, fp32 elsewhere.

    bf16 autocast on a CPU is many times slower than fp32, so a CPU computes in fp32.

    >>> training_precision("auto", Units("cuda", bf16=False))
    'fp16'

    Raises:
        ConfigError: the device cannot train in what was asked for.
    """
    if asked == "auto":
        if units.device != "cpu" and units.bf16:
            return "bf16"
        return "fp16" if units.device == "cuda" else "fp32"
    if asked != "fp32" and units.device == "cpu":
        raise ConfigError(f"training.precision is {asked}, but there is no GPU to use it on; leave it at auto or fp32")
    if asked == "tf32" and not units.tf32:
        raise ConfigError("training.precision is tf32, which this GPU does not have; leave it at auto or set fp16")
    if asked == "bf16" and units.device != "cuda" and not units.bf16:
        raise ConfigError("training.precision is bf16, which this GPU does not have; leave it at auto or fp32")
    return asked


def evaluation_precision(asked: Asked, units: Units) -> Precision:
    """The precision of evaluations and predictions; `auto`: tf32 on GPUs that have it, fp32 elsewhere.

    Not bf16: a small update folded into a weight is lost where the sum is rounded to 8 bits, and half precision moves
    scores by about as much as the methods do that are compared with them. A device without TF32 computes fp32 instead.
    Half precision may be asked for anywhere, for a run may be evaluated on another machine than it was set up for.
    """
    if asked == "auto" or (asked == "tf32" and not units.tf32):
        return "tf32" if units.tf32 else "fp32"
    return asked


@contextmanager
def computing(network: nn.Module, precision: Precision) -> Iterator[None]:
    """Passes through a network in a precision, whatever it is trained in.

    What was put around the forward of this very network meanwhile, such as autocast by accelerate, is taken off for
    the while, and nothing is compiled: images to predict have many sizes.
    """
    device = next(network.parameters()).device.type
    wrapped = vars(network).pop("forward", None)
    try:
        autocast = torch.autocast(device, HALF.get(precision), enabled=precision in HALF)
        with kernels(precision), torch.compiler.set_stance("force_eager"), autocast:
            yield
    finally:
        if wrapped is not None:
            network.forward = wrapped


@contextmanager
def kernels(precision: Precision, *, autotune: bool = False) -> Iterator[None]:
    """Which kernels of a GPU compute.

    What is float32 is float32: torch itself would round the factors of convolutions to TF32. And attention is never
    cuDNN's: its backward pass in half precision can give gradients that are wrong or NaN, with the right loss (pytorch
    issue 196678; measured in docs/gpu.md). Flash attention takes its place.

    Args:
        precision: TF32 in `tf32` alone.
        autotune: cuDNN times its algorithms for each size of its input and takes the fastest.
    """
    products, convolutions, attention = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.cuda
    before = products.allow_tf32, convolutions.allow_tf32, convolutions.benchmark, attention.cudnn_sdp_enabled()
    products.allow_tf32 = convolutions.allow_tf32 = precision == "tf32"
    convolutions.benchmark = autotune
    attention.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32, convolutions.benchmark, sdp = before
        attention.enable_cudnn_sdp(sdp)
