"""Claim: the minor triplets of a ViT-L block cost at most 1/2.5 of its float32 SVD, and are right to 1e-5.

    python benchmarks/decompose.py [--threads 1] [--repeats 5] [--spectrum gaussian|power] [--weights FILE]

Decomposes the six weights of one block at rank 16, by this package and by `torch.linalg.svd(full_matrices=False)`
in float32, in turns, so that other work on the machine disturbs both; the median of the repeats counts. `cached`
reads the triplets back from a folder. The error is that of the part `U S Vh`, against a full SVD in float64. Where
a GPU is at hand, its seconds are printed too. With --weights, the errors for the matrices of a safetensors file
follow. Exits with code 1 if the total ratio or an error misses the claim.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from safetensors.torch import load_file
from torch import Tensor

from minorkey.adapters.decompose import singular_triplets
from minorkey.adapters.triplet_cache import cached_triplets

RANK = 16
SHAPES = {"query": (1024, 1024), "key": (1024, 1024), "value": (1024, 1024), "output": (1024, 1024)}
SHAPES |= {"fc1": (4096, 1024), "fc2": (1024, 4096)}
WANTED_RATIO, WANTED_ERROR = 2.5, 1e-5


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="seconds and error of the minor triplets of a ViT-L block")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--spectrum", choices=["gaussian", "power"], default="gaussian", help="power: condition 1e4")
    parser.add_argument("--weights", type=Path, help="safetensors file with trained weights")
    return parser.parse_args()


def limit_threads(count: int) -> None:
    """Start this program anew with so many threads; the libraries of linear algebra ask once, when loaded."""
    wanted = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(count))
    if not wanted.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def make_weight(shape: tuple[int, int], spectrum: str, seed: int) -> Tensor:
    """A Gaussian matrix, or one with Gaussian singular vectors and values k^(-p) down to 1e-4."""
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if spectrum == "power":
        U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
        position = torch.arange(1, len(S) + 1, dtype=torch.float64)
        weight = U * position ** (-4 * math.log(10) / math.log(len(S))) @ Vh
    return weight.float()


def relative_error(weight: Tensor) -> float:
    """Error of what the weight's own device finds, against float64 on the processor."""
    U, S, Vh = singular_triplets(weight, RANK)
    u, s, vh = torch.linalg.svd(weight.cpu().double(), full_matrices=False)
    exact = u[:, -RANK:] * s[-RANK:] @ vh[-RANK:]
    return float((U * S @ Vh - exact).norm() / exact.norm())


def seconds(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each way, run in turns; a first round does not count."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, run in ways.items():
            start = perf_counter()
            run()
            spent[name].append(perf_counter() - start)
    return {name: median(times[1:]) for name, times in spent.items()}


def measure(weight: Tensor, folder: Path, repeats: int) -> dict[str, float]:
    ways: dict[str, Callable[[], object]] = {
        "ours": partial(singular_triplets, weight, RANK),
        "full": partial(torch.linalg.svd, weight, full_matrices=False),
        "cached": partial(cached_triplets, weight, RANK, "minor", folder),
    }
    if torch.cuda.is_available():
        ways["gpu"] = partial(singular_triplets, weight.cuda(), RANK)
    return seconds(ways, repeats)


def print_row(name: str, shape: str, spent: dict[str, float], error: float) -> None:
    gpu = f"{spent['gpu']:.3f}" if "gpu" in spent else "-"
    ratio = spent["full"] / spent["ours"]
    columns = f"{spent['ours']:.3f} | {spent['full']:.3f} | {ratio:.1f} | {error:.1e} | {spent['cached']:.4f} | {gpu}"
    print(f"| {name} | {shape} | {columns} |", flush=True)


def block(options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Print the table of the six weights; their total ratio and largest error."""
    print(f"{options.spectrum} spectrum, rank {RANK}, {options.threads} thread(s), median of {options.repeats}")
    print("\n| weight | shape | ours, s | float32 SVD, s | ratio | error | cached, s | GPU, s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    errors, total = [], dict[str, float]()
    for seed, (name, shape) in enumerate(SHAPES.items()):
        weight = make_weight(shape, options.spectrum, seed)
        errors.append(relative_error(weight))
        spent = measure(weight, folder, options.repeats)
        total = {way: total.get(way, 0.0) + value for way, value in spent.items()}
        print_row(name, f"{shape[0]} x {shape[1]}", spent, errors[-1])
    print_row("all six", "", total, max(errors))
    return total["full"] / total["ours"], max(errors)


def trained(path: Path) -> float:
    """Print the largest error over the matrices of a file, and return it."""
    matrices = [value for value in load_file(path).values() if value.ndim == 2 and min(value.shape) > 4 * RANK]
    errors = [relative_error(matrix) for matrix in matrices]
    print(f"\n{path}: {len(errors)} matrices, largest error {max(errors):.1e}, median {median(errors):.1e}")
    return max(errors)


def main() -> int:
    options = parse()
    limit_threads(options.threads)
    with TemporaryDirectory() as folder:
        ratio, error = block(options, Path(folder))
    if options.weights:
        error = max(error, trained(options.weights))
    print(f"\ntotal ratio {ratio:.2f} (wanted: {WANTED_RATIO}), largest error {error:.1e} (wanted: {WANTED_ERROR:.0e})")
    return int(ratio < WANTED_RATIO or error > WANTED_ERROR)


if __name__ == "__main__":
    sys.exit(main())
