"""Steps of the recipe whose backbone is computed again in the backward pass."""

from collections.abc import Iterator

from gpu_sections.bench import Bench
from gpu_sections.recipe import Case, measured_cases

CHECKPOINTED = {"training": {"gradient_checkpointing": True}}
CASES = (
    Case("soma, gradient checkpointing", "soma", CHECKPOINTED),
    Case("full, gradient checkpointing", "full", CHECKPOINTED),
)


def cases(bench: Bench) -> Iterator[tuple]:
    """A case for each row; without it, see the recipe's."""
    return measured_cases(bench, CASES)
