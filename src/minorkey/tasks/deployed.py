"""A network as another library runs it: what of a model goes into one graph, and how a task reads what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

Outputs = Mapping[str, Tensor]
"""What a graph gives, by name."""

Size = tuple[int, int]

Scale = Literal["full", "coarse"]
"""Scores of pixels in the size of the image, or as the network has them."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What of a trained model goes into a graph.

    Args:
        network: from normalised images `(B, 3, H, W)` to a tuple of tensors, without branches on their values.
        outputs: what each of them is, by its name, in their order.
        difference: the largest difference of outputs from those expected, as a share of what they can be.
        script: Python of `predict(name)`, which says and writes what is in an image, for the script beside the file;
            what is above it there is `minorkey.export.script.HEAD`.
        multiple: of which the sides of an image are.
        any_size: images may have any height and width.
        by_masks: scores of pixels are averaged as they are, and not as logits.
    """

    network: nn.Module
    outputs: Mapping[str, str]
    difference: Callable[[Outputs, Outputs], float]
    script: str
    multiple: int = 1
    any_size: bool = True
    by_masks: bool = False


def largest_difference(expected: Outputs, given: Outputs) -> float:
    """The largest difference of any value, as a share of the largest value of its tensor where that is above 1."""
    return max(
        float((given[name].float() - values.float()).abs().max() / values.float().abs().max().clamp(min=1))
        for name, values in expected.items()
    )


class DeployedNetwork(nn.Module):
    """A network that another library runs, in the form in which tasks ask a model of transformers.

    Args:
        run: from normalised images `(B, 3, H, W)` to outputs by name, and the height and width of the canvas that it
            put them on, at the top left.
        restore: `Task.from_deployed`.
        by_masks: as in `Deployed`.
    """

    def __init__(
        self,
        run: Callable[[Tensor], tuple[Outputs, Size]],
        restore: Callable[[Outputs, Size, Size], ModelOutput],
        by_masks: bool,
    ) -> None:
        super().__init__()
        self._run, self._restore, self.by_masks = run, restore, by_masks
        self.config: Any = SimpleNamespace(num_queries=0)  # images that are too small were refused as it was written
        # Says where images go: to the memory of the host, from which the other library takes them.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, pixel_values: Tensor) -> ModelOutput:
        """What a model of the task would give of images `(B, 3, H, W)`."""
        outputs, canvas = self._run(pixel_values)
        return self._restore(outputs, canvas, (pixel_values.shape[-2], pixel_values.shape[-1]))
