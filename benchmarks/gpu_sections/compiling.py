"""Steps of the recipe as `training.compile` takes them; on a CPU traced alone, which needs no compiler."""

from collections.abc import Iterator

from gpu_sections.bench import Bench
from gpu_sections.recipe import Case, measured_cases
from minorkey.models.compiling import compile_network
from minorkey.parts import Network


def cases(bench: Bench) -> Iterator[tuple]:
    """SoMA and full fine-tuning; without it, see the recipe's."""

    def compiled(network: Network) -> None:
        compile_network(network.model, backend="inductor" if bench.on_gpu else "eager")

    methods = ("soma",) if bench.small else ("soma", "full")
    rows = [Case(f"{method}, compiled", method, change=compiled) for method in methods]
    return measured_cases(bench, rows)
