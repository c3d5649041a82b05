"""Steps of the recipe whose backbone is compiled; on a CPU traced alone, which needs no compiler."""

from collections.abc import Iterator

from gpu_sections.bench import Bench
from gpu_sections.recipe import Case, measured_cases
from minorkey.parts import Network


def cases(bench: Bench) -> Iterator[tuple]:
    """SoMA and full fine-tuning; without it, see the recipe's."""

    def compiled(network: Network) -> None:
        network.backbone.compile(backend="inductor" if bench.on_gpu else "aot_eager")

    methods = ("soma",) if bench.small else ("soma", "full")
    rows = [Case(f"{method}, backbone compiled", method, change=compiled) for method in methods]
    return measured_cases(bench, rows)
