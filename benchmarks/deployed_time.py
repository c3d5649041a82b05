"""onnxruntime against torch on this CPU, one thread each, in turns: every head on the built-in backbone, random heads.

    python benchmarks/deployed_time.py [--size 128x256] [--passes 15] [HEAD...]

Each head is written as ONNX for one size and held against torch; then both look at the same image, one after the other.
The median of each and of the ratios of the pairs are printed, with the largest difference.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import onnxruntime
import torch

from minorkey.export.deploy_options import OPSET, parse_size
from minorkey.export.graph import as_onnx, traced
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.table import TASKS, task_named

PLAIN = ("eomt",)
"""Heads for plain ViTs, which the built-in backbone is none of."""

Size = tuple[int, int]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("heads", nargs="*", help="default: all that the built-in backbone can have")
    arguments.add_argument("--size", default="128x256", help="height and width of the image")
    arguments.add_argument("--passes", type=int, default=15)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    print(
        "| head | torch, ms | onnxruntime, ms | torch / onnxruntime | largest difference |\n|---|---:|---:|---:|---:|"
    )
    for task in TASKS.shipped:
        for head in task_named(task).heads.shipped:
            if head not in PLAIN and (not given.heads or head in given.heads):
                print(row(task, head, parse_size(given.size), given.passes), flush=True)


def row(task: str, head: str, size: Size, passes: int) -> str:
    """The figures of a head."""
    network = load_backbone(BackboneOptions(name="builtin")).network
    options = HeadOptions(name=head, queries=100) if task == "detection" else HeadOptions(name=head)
    model = task_named(task).build(network, options, 11, 0).eval().requires_grad_(False)
    deployed = task_named(task).deployed(model, Protocol(label_space="street11"), "full")
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    onnx = as_onnx(traced(deployed.network, images, any_size=False, gathers=False), list(deployed.outputs), OPSET)
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), threads, providers=["CPUExecutionProvider"])
    image, names = images[:1], list(deployed.outputs)
    with torch.inference_mode():
        expected = dict(zip(names, deployed.network(image), strict=True))
        given = session.run(names, {"images": image.numpy()})
        difference = deployed.difference(expected, dict(zip(names, map(torch.from_numpy, given), strict=True)))
        pairs = [
            (timed(lambda: deployed.network(image)), timed(lambda: session.run(names, {"images": image.numpy()})))
            for _ in range(passes)
        ]
    ours, theirs = (1000 * median(column) for column in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    return f"| `{head}` | {ours:.0f} | {theirs:.0f} | {ratio:.2f} | {difference:.0e} |"


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
