"""Steps of the recipe whose backbone is compiled, and all that `training.compile` compiles.

On a CPU the backbone is traced alone, which needs no compiler.
"""

from collections.abc import Iterator
from functools import partial

from gpu_sections.bench import Bench
from gpu_sections.recipe import LAUNCHED, Case, measured_cases
from minorkey.models.compiling import compile_network
from minorkey.runs.assemble import Network


def cases(bench: Bench) -> Iterator[tuple]:
    """SoMA and full fine-tuning; without it, see the recipe's."""

    def backbone(network: Network) -> None:
        compile_network(network.backbone, backend="inductor" if bench.on_gpu else "eager")

    def replayed(network: Network) -> None:
        from torch._inductor.compile_fx import compile_fx

        compile_network(network.backbone, backend=partial(compile_fx, config_patches={"triton.cudagraphs": True}))

    rows = [Case("soma, backbone compiled", "soma", LAUNCHED, change=backbone)]
    if not bench.small:
        whole = {"training": {"compile": True}}
        rows += [Case("soma, backbone compiled, CUDA graphs of torch.compile", "soma", LAUNCHED, change=replayed)]
        rows += [Case("full, backbone compiled", "full", LAUNCHED, change=backbone)]
        rows += [Case(f"{method}, compiled", method, whole) for method in ("soma", "full")]
    return measured_cases(bench, rows)
