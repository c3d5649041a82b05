"""Models of transformers as `torch.export` can follow them; what they compute stays the same."""

import builtins
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.d_fine import modeling_d_fine
from transformers.models.deformable_detr import modeling_deformable_detr
from transformers.models.mask2former import modeling_mask2former
from transformers.models.rt_detr_v2 import modeling_rt_detr_v2

from minorkey.models.heads.segmentation.eomt import EOMT_MODELS, SCHEDULE
from minorkey.models.sampling import gathered_sample

MODULES: tuple[Any, ...] = (modeling_d_fine, modeling_rt_detr_v2, modeling_deformable_detr, modeling_mask2former)
"""Of models with deformable attention."""


@contextmanager
def exportable(model: nn.Module, *, gathers: bool = False) -> Iterator[None]:
    """While it lasts, a model in evaluation mode can be traced for batches of any size.

    Args:
        model: of transformers or ours.
        gathers: sample maps by `gathered_sample`.
    """
    with ExitStack() as changes:
        for module in MODULES:
            # The length of a tensor is a number, which would fix the batch; what is checked of sizes holds, or it
            # would have been said when the run predicted.
            changes.enter_context(_replaced(module, "len", _len))
            changes.enter_context(_replaced(module, "torch_compilable_check", _unchecked))
        if gathers:
            changes.enter_context(_replaced(F, "grid_sample", gathered_sample))
        for part in model.modules():
            if isinstance(part, EOMT_MODELS):
                changes.enter_context(_schedule_as_numbers(part))
        yield


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """A name in a module that stands for something else meanwhile, or that it has only meanwhile."""
    before = vars(module).get(name)
    setattr(module, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)


def _len(given: Any) -> int:
    return given.shape[0] if isinstance(given, Tensor) else builtins.len(given)


def _unchecked(*args: Any, **kwargs: Any) -> None:
    pass


@contextmanager
def _schedule_as_numbers(model: nn.Module) -> Iterator[None]:
    """Numbers in place of an EoMT's schedule of masked attention, on which it branches."""
    buffer: Any = getattr(model, SCHEDULE)
    delattr(model, SCHEDULE)
    vars(model)[SCHEDULE] = buffer.tolist()
    try:
        yield
    finally:
        delattr(model, SCHEDULE)
        model.register_buffer(SCHEDULE, buffer)
