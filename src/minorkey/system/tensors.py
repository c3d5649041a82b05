"""Tensors from a file, held against those that they are to become: nothing missing, extra, misshapen or not finite."""

from collections.abc import Mapping

import torch
from torch import Tensor

from minorkey.errors import AdapterError


def check_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, hint: str) -> None:
    """Check that tensors are those of the same names and shapes, and hold numbers.

    Args:
        given: the tensors.
        expected: others of the names and shapes that they must have.
        what: where they come from, e.g. "the checkpoint".
        hint: what may be the matter, or what to do, at its end.

    Raises:
        AdapterError: a tensor is missing, is one too many, has another shape, or holds NaN or infinity where that
            which it becomes (a mask may be -inf) does not.
    """
    if wrong := sorted(expected.keys() ^ given.keys()):
        lacks = "lacks" if wrong[0] in expected else "has an unexpected"
        raise AdapterError(f"{what} {lacks} tensor '{wrong[0]}' ({len(wrong)} names differ); {hint}")
    for name, other in expected.items():
        check_shape(name, given[name], other, what, hint)
        if not is_finite(given[name]) and (other.is_meta or is_finite(other)):
            raise AdapterError(f"tensor '{name}' of {what} has values that are not finite; {hint}")


def check_shape(name: str, given: Tensor, expected: Tensor, what: str, hint: str) -> None:
    """Raise `AdapterError` if a tensor has another shape than expected."""
    if given.shape != expected.shape:
        raise AdapterError(
            f"tensor '{name}' of {what} has shape {tuple(given.shape)}, expected {tuple(expected.shape)}; {hint}"
        )


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are numbers; in one pass, and without memory for as many answers."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor.detach()))
