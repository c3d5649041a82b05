"""Parameter groups, learning-rate schedules and annealing weight decay: pure functions of the step."""

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Optimizer

from minorkey.training.options import TrainingOptions

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d, nn.SyncBatchNorm)


def param_groups(model: nn.Module, lr: float, backbone_lr: float, weight_decay: float) -> list[dict[str, object]]:
    """Groups of the trained parameters: backbone or head, decayed or not.

    Norms are not decayed (SoMA's recipes), nor are class, mask and position embeddings. Each group carries
    the `names` of its parameters and its initial rate and decay, from which the schedules start.
    """
    undecayed = set(_undecayed(model))
    groups: dict[tuple[bool, bool], dict[str, object]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        in_backbone, decays = name.startswith("backbone."), name not in undecayed
        rate, decay = backbone_lr if in_backbone else lr, weight_decay if decays else 0.0
        group = groups.setdefault(
            (in_backbone, decays),
            {
                "params": [],
                "names": [],
                "lr": rate,
                "initial_lr": rate,
                "weight_decay": decay,
                "initial_weight_decay": decay,
            },
        )
        group["params"].append(parameter)  # type: ignore[attr-defined]
        group["names"].append(name)  # type: ignore[attr-defined]
    return list(groups.values())


def _undecayed(model: nn.Module) -> Iterable[str]:
    for module_name, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            if isinstance(module, NORMS) or name.endswith(("_embeddings", "_token", "_embedding")):
                yield f"{module_name}.{name}" if module_name else name


def build_optimizer(model: nn.Module, options: TrainingOptions, method: str) -> AdamW:
    """AdamW over what trains, with the method's own backbone rate."""
    rate = options.backbone_rate(method) if _trains_backbone(model) else options.lr
    groups = param_groups(model, options.lr, rate, options.weight_decay)
    return AdamW(groups, betas=options.betas)


def _trains_backbone(model: nn.Module) -> bool:
    return any(p.requires_grad for name, p in model.named_parameters() if name.startswith("backbone."))


def lr_factor(step: int, options: TrainingOptions) -> float:
    """Share of the initial learning rate at a 0-based step: warm-up times schedule."""
    warm = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    progress = step / options.steps
    if options.schedule == "poly":
        return warm * (1 - progress) ** options.power
    if options.schedule == "cosine":
        return warm * (1 + math.cos(math.pi * progress)) / 2
    if options.schedule == "steps":
        return warm * 0.1 ** sum(step >= milestone for milestone in options.milestones)
    return warm


def annealed_weight_decay(step: int, total: int, initial: float, minimum: float) -> float:
    """Annealing weight decay of SoMA (arXiv 2412.04077): a half cosine from `initial` to `minimum`.

    lambda_t = lambda_min + (lambda_0 - lambda_min) (1 + cos(pi t / T)) / 2. A group that starts below the
    minimum (norms start at 0) keeps its value.
    """
    if initial <= minimum:
        return initial
    return minimum + (initial - minimum) * (1 + math.cos(math.pi * step / total)) / 2


def schedule(optimizer: Optimizer, step: int, options: TrainingOptions, anneal: bool) -> None:
    """Set every group's learning rate and weight decay for a 0-based step."""
    factor = lr_factor(step, options)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
        if anneal:
            group["weight_decay"] = annealed_weight_decay(
                step, options.steps, group["initial_weight_decay"], options.weight_decay_min
            )
