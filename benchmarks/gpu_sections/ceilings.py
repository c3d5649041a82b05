"""What the card can do at most: bytes per second, operations per second, launches per second."""

from collections.abc import Iterator
from functools import partial

import torch

from gpu_sections.bench import Bench, repeated
from gpu_sections.report import Figures

PRODUCTS = {
    "bf16": (torch.bfloat16, "highest"),
    "fp16": (torch.float16, "highest"),
    "TF32": (torch.float32, "high"),
    "fp32": (torch.float32, "highest"),
}
LAUNCHES = 1000


def cases(bench: Bench) -> Iterator[tuple]:
    """Copies, matrix products in each precision, kernels that do nothing."""
    yield "copy on the device", partial(copy, bench)
    for name in PRODUCTS:
        yield f"matrix product, {name}", partial(product, bench, name)
    yield "copy to the device, pinned memory", partial(upload, bench)
    yield "launch of a kernel", partial(launch, bench)


def copy(bench: Bench) -> Figures:
    """Bytes read and written by a copy of 2 GiB."""
    source = torch.ones(2**20 if bench.small else 2**31, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return {"GB/s": 2 * source.numel() / repeated(bench, lambda: target.copy_(source)) / 1e9}


def product(bench: Bench, name: str) -> Figures:
    """Of two square matrices of random numbers."""
    side = 128 if bench.small else 8192
    dtype, precision = PRODUCTS[name]
    torch.set_float32_matmul_precision(precision)
    left, right = (torch.randn(side, side, device=bench.device).to(dtype) for _ in range(2))
    return {"TFLOP/s": 2 * side**3 / repeated(bench, lambda: left @ right) / 1e12}


def upload(bench: Bench) -> Figures:
    """Of 256 MiB."""
    source = torch.ones(2**20 if bench.small else 2**28, dtype=torch.uint8)
    source = source.pin_memory() if bench.on_gpu else source
    target = torch.empty_like(source, device=bench.device)
    return {"GB/s": source.numel() / repeated(bench, lambda: target.copy_(source, non_blocking=True)) / 1e9}


def launch(bench: Bench) -> Figures:
    """Microseconds of one of many additions of a number to a number: less per kernel cannot be had without graphs."""
    value = torch.zeros(1, device=bench.device)

    def many() -> None:
        for _ in range(LAUNCHES):
            value.add_(1)

    return {"us": 1e6 * repeated(bench, many) / LAUNCHES}
