"""Where a DETR's head starts from, as its authors have it.

transformers 5.23 is made to load trained weights. Drawn anew, its linear layers and convolutions are close to zero
(a standard deviation of 0.01 or 0.02), RT-DETRv2's batch norms almost close their channels, and Deformable DETR finds
every class at every place with a probability of a half.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

PRIOR = 0.01
"""Probability of every class at the start (RetinaNet, arXiv 1708.02002, section 4.1)."""


@torch.no_grad()
def start_head(model: PreTrainedModel, classifiers: Iterable[nn.Linear], refiners: Iterable[Any]) -> None:
    """Draw the weights of a DETR anew, but for its backbone: Xavier-uniform, batch norms open.

    Layers of zeros, such as sampling offsets and gates, start there in the papers too and are left as they are; so are
    embeddings and layer norms.

    Args:
        model: as transformers builds it.
        classifiers: layers whose logits are made those of `PRIOR`.
        refiners: perceptrons of `layers` that move a box, by nothing at first.
    """
    inside = set(model.model.backbone.modules())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module not in inside:
            module.reset_parameters()
        elif isinstance(module, nn.Linear | nn.Conv2d) and module not in inside and module.weight.any():
            nn.init.xavier_uniform_(module.weight)
    for classifier in classifiers:
        nn.init.constant_(classifier.bias, math.log(PRIOR / (1 - PRIOR)))
    for refiner in refiners:
        nn.init.zeros_(refiner.layers[-1].weight)
        nn.init.zeros_(refiner.layers[-1].bias)
