"""Parameter groups, and learning-rate schedules as pure functions of the step."""

import math
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from minorkey.adapters.norms import is_norm
from minorkey.errors import ConfigError
from minorkey.models.build import backbone_of
from minorkey.training.annealing import anneal
from minorkey.training.options import TrainingOptions

EMBEDDINGS = ("_embeddings", "_embedding", "_embed", "_tokens", "_token")
"""Ends of the names of class, mask, register and position embeddings, in transformers and timm."""


def param_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.05,
    backbone: nn.Module | None = None,
    backbone_lr: float | None = None,
    backbone_weight_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Groups of the trained parameters for any optimizer of torch: backbone or rest, decayed or not.

    Norms are not decayed (SoMA's recipes, arXiv 2412.04077), nor are embeddings of classes, masks, positions
    and queries. Each group carries the `names` of its parameters, and `initial_lr` and `initial_weight_decay`,
    from which schedules start.

    Args:
        model: what trains; parameters that require no gradient are left out.
        lr: learning rate.
        weight_decay: of the decayed groups.
        backbone: the part of `model` with a rate of its own, such as the one that `attach` was called on.
        backbone_lr: its rate; None: `lr`.
        backbone_weight_decay: its decay; None: `weight_decay`.

    Raises:
        ConfigError: nothing in `model` trains, `backbone` is no part of it, or a setting of it comes without one.
    """
    if backbone is None and (backbone_lr is not None or backbone_weight_decay is not None):
        raise ConfigError("backbone_lr is given without a backbone; say which part of the model it is for")
    inside = set() if backbone is None else _backbone_ids(model, backbone)
    undecayed = _undecayed_ids(model)
    backbone_lr = lr if backbone_lr is None else backbone_lr
    backbone_decay = weight_decay if backbone_weight_decay is None else backbone_weight_decay
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        key = id(parameter) in inside, id(parameter) in undecayed
        if key not in groups:
            groups[key] = _empty_group(
                backbone_lr if key[0] else lr, 0.0 if key[1] else backbone_decay if key[0] else weight_decay
            )
        groups[key]["params"].append(parameter)
        groups[key]["names"].append(name)
    if not groups:
        raise ConfigError(
            f"nothing in {type(model).__name__} requires a gradient; attach a method that trains something, "
            "or keep a head trainable"
        )
    return list(groups.values())


def _empty_group(lr: float, weight_decay: float) -> dict[str, Any]:
    return {
        "params": [],
        "names": [],
        "lr": lr,
        "initial_lr": lr,
        "weight_decay": weight_decay,
        "initial_weight_decay": weight_decay,
    }


def _backbone_ids(model: nn.Module, backbone: nn.Module) -> set[int]:
    inside = {id(parameter) for parameter in backbone.parameters()}
    if not inside <= {id(parameter) for parameter in model.parameters()}:
        raise ConfigError(
            f"the backbone ({type(backbone).__name__}) is no part of {type(model).__name__}; "
            "give the module inside the model, not a copy"
        )
    return inside


def _undecayed_ids(model: nn.Module) -> set[int]:
    return {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if is_norm(module) or isinstance(module, nn.Embedding) or name.endswith(EMBEDDINGS)
    }


def build_optimizer(model: nn.Module, options: TrainingOptions, method: str) -> AdamW:
    """AdamW over what trains in a model, with the method's own rate for its `backbone`; one kernel on a CUDA GPU."""
    backbone = backbone_of(model)
    trains = any(parameter.requires_grad for parameter in backbone.parameters())
    groups = param_groups(
        model,
        lr=options.lr,
        weight_decay=options.weight_decay,
        backbone=backbone,
        backbone_lr=options.backbone_rate(method) if trains else None,
        backbone_weight_decay=options.backbone_weight_decay if trains else None,
    )
    fused = True if groups[0]["params"][0].is_cuda else None
    return AdamW(groups, betas=options.betas, fused=fused)


def lr_factor(step: int, options: TrainingOptions) -> float:
    """Share of the initial learning rate at a 0-based step: warm-up times schedule."""
    warm = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    begin, end = options.decay_from, options.horizon or options.steps
    progress = min(1.0, max(0, step - begin) / max(1, end - begin))
    if options.schedule == "poly":
        return warm * (1 - progress) ** options.power
    if options.schedule == "cosine":
        return warm * (1 + math.cos(math.pi * progress)) / 2
    if options.schedule == "steps":
        return warm * 0.1 ** sum(step >= milestone for milestone in options.milestones)
    return warm


def schedule(optimizer: Optimizer, step: int, options: TrainingOptions, annealing: bool) -> None:
    """Set every group's learning rate and weight decay for a 0-based step; a rate with no `initial_lr` is constant."""
    factor = lr_factor(step, options)
    for group in optimizer.param_groups:
        if "initial_lr" in group:
            group["lr"] = group["initial_lr"] * factor
    if annealing:
        anneal(optimizer, step, options.steps, options.weight_decay_min)
