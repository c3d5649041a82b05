"""A task's model as others load it: what an export says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exported:
    """How a trained model is loaded, fed and read by those who have transformers alone."""

    name: str  # with an article
    auto_class: str  # class of transformers that loads it
    pipeline: str  # the hub's tag for what it does
    tag: str  # the hub's tag for the task
    processor: Mapping[str, Any]  # settings of its image processor, beside those of any (`export.processor`)
    note: str  # how the outputs become what is wanted
    code: str = ""  # Python for it, where the processor does not
