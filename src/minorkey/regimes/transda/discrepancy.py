"""TransDA's dynamic discrepancy (arXiv 2203.07988): how alike the domains are at each position, and its losses.

A position counts more in the adversarial game where the model is unsure of its class and a domain classifier, `Dis`,
is unsure of its domain. Positions are those of the features or, as the authors' code has it, pixels of the image. Class
scores come as logits or as log-probabilities: the two differ by a constant at each position, and neither the softmax
at any temperature nor a bilinear resize in front of it sees that constant.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SOURCE_TEMPERATURE = 10.0
"""A model is sure of its source classes, having learned them; this spreads its entropies out."""

LEAST_PROBABILITY = 1e-7
"""Of a domain, where its logarithm is taken of a resized probability."""

LABEL_CLIP = 0.9
"""Highest probability in a soft label for the class-wise discriminator."""


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Logits of class probabilities `(B, K, H, W)`, for models that give no logits; finite where one is 0."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def normalised_entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """H(softmax(logits / temperature)) / log K of logits `(B, K, h, w)`: `(B, h, w)` in [0, 1], 1 where all are equal.

    Needs K >= 2.

    >>> logits = torch.tensor([[0.0, 0.0], [3.0, 0.0]])[..., None, None]
    >>> [round(entropy.item(), 2) for entropy in normalised_entropy(logits)]
    [1.0, 0.28]
    """
    log_p = (logits.float() / temperature).log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1) / math.log(logits.shape[1])


def min_max(values: Tensor, filled: Tensor | None = None) -> Tensor:
    """Stretch the values of a whole batch, any shape, to [0, 1]. If they are all equal: ones, so that all count.

    Where `filled` is false they do not count, and what comes out there means nothing.

    >>> min_max(torch.tensor([1.0, 2.0, 5.0])).tolist(), min_max(torch.tensor([3.0, 3.0])).tolist()
    ([0.0, 0.25, 1.0], [1.0, 1.0])
    """
    counted = torch.ones_like(values, dtype=torch.bool) if filled is None else filled
    low, high = values.where(counted, torch.inf).amin(), values.where(counted, -torch.inf).amax()
    span = high - low
    return torch.where(span > 0, (values - low) / span.clamp_min(torch.finfo(values.dtype).tiny), 1.0)


def at_pixels(prediction: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """A discriminator's prediction at the pixels of an image, as TransDA's released code compares domains.

    Of a binary one the probability is resized there, of a class-wise one the logits are, bilinear, corner on corner.

    Args:
        prediction: logits `(B, 1, h, w)`, or `(B, 2K, h, w)`.
        size: height and width of the image.

    Returns:
        Logits `(B, 1 or 2K, H, W)`; of a binary one those of a probability between 1e-7 and 1 - 1e-7.

    >>> unsure_and_sure = torch.tensor([0.0, 3.0]).view(1, 1, 1, 2)
    >>> [round(p, 3) for p in at_pixels(unsure_and_sure, (1, 3)).sigmoid().flatten().tolist()]
    [0.5, 0.726, 0.953]
    """
    values = prediction.float()
    binary = values.shape[1] == 1
    resized = F.interpolate(values.sigmoid() if binary else values, size=size, mode="bilinear", align_corners=True)
    return resized.logit(eps=LEAST_PROBABILITY) if binary else resized


def shown_at(filled: Tensor, like: Tensor) -> Tensor:
    """Which positions of a map `(B, C, h, w)` show the image, of a map `(B, H, W)` bool of pixels: `(B, h, w)`."""
    return F.interpolate(filled[:, None].float(), size=like.shape[-2:], mode="nearest")[:, 0] > 0


def counting(filled: Tensor) -> Tensor:
    """Weights `(B, h, w)` under which a mean over all positions is one over those that are filled.

    >>> counting(torch.tensor([True, True, False, False])).tolist()
    [2.0, 2.0, 0.0, 0.0]
    """
    return filled * (filled.numel() / filled.sum().clamp(min=1))


@torch.no_grad()
def source_weights(class_logits: Tensor, domain_logits: Tensor, filled: Tensor | None = None) -> Tensor:
    """w_s = H(softmax(p_s / 10)) / log K - Dis(F_s), min-max normalised over the batch of this process.

    Args:
        class_logits: p_s `(B, K, H, W)`, the student's on source images; resized to the prediction (bilinear).
        domain_logits: `(B, 1, h, w)`, logits of "source" that `Dis` gives to the source features.
        filled: `(B, h, w)` bool, false where there is no image; None: nowhere.

    Returns:
        `(B, h, w)` in [0, 1], without a graph.
    """
    entropy = normalised_entropy(_resized(class_logits, domain_logits), SOURCE_TEMPERATURE)
    return min_max(entropy - domain_logits.float().sigmoid()[:, 0], filled)


@torch.no_grad()
def target_weights(class_logits: Tensor, domain_logits: Tensor, filled: Tensor | None = None) -> Tensor:
    """w_t = Dis(F_t) - H(softmax(p_t)) / log K, min-max normalised over the batch of this process.

    Args:
        class_logits: p_t `(B, K, H, W)`, the teacher's on target images; resized to the prediction (bilinear).
        domain_logits: `(B, 1, h, w)`, logits of "source" that `Dis` gives to the target features.
        filled: `(B, h, w)` bool, false where there is no image; None: nowhere.

    Returns:
        `(B, h, w)` in [0, 1], without a graph.
    """
    entropy = normalised_entropy(_resized(class_logits, domain_logits))
    return min_max(domain_logits.float().sigmoid()[:, 0] - entropy, filled)


@torch.no_grad()
def soft_labels(class_logits: Tensor, like: Tensor) -> Tensor:
    """Class probabilities at the resolution of `like` `(B, ..., h, w)`, clipped at 0.9, without a graph.

    What is clipped goes to no other class, so a label may sum to less than 1.

    Args:
        class_logits: `(B, K, H, W)`.

    Returns:
        `(B, K, h, w)`.
    """
    return _resized(class_logits, like).softmax(dim=1).clamp_max(LABEL_CLIP)


def domain_loss(
    prediction: Tensor, *, source: bool, weights: Tensor | None = None, labels: Tensor | None = None
) -> Tensor:
    """Cross-entropy of a discriminator's prediction to one domain, at each position, weighted, as a mean.

    Without `labels` the discriminator is binary and its logits are those of "source". With them it is class-wise, of
    2K channels: the first K say "target, of class k", the last K "source, of class k", and the cross-entropy is the
    soft one to [labels, 0] for the target and [0, labels] for the source. Which half is which is our reading of
    TransDA's adversarial loss, whose target for source features is [softmax(p_s), 0]: these are to look like target.

    Every loss of the game is this one: source features towards "target" train the features (`adversarial_loss`),
    both domains towards the truth train the discriminators (`discriminator_loss`).

    Args:
        prediction: logits `(B, 1, h, w)`, or `(B, 2K, h, w)`.
        source: the domain to be named.
        weights: `(B, h, w)`; None: 1 everywhere. The mean is over positions, not over their weights.
        labels: `(B, K, h, w)`, see `soft_labels`.

    Returns:
        A scalar.

    >>> unsure = torch.zeros(1, 1, 1, 1)
    >>> [round(domain_loss(unsure, source=domain).item(), 4) for domain in (True, False)]  # log 2
    [0.6931, 0.6931]
    """
    prediction = prediction.float()
    if labels is None:
        logits = prediction[:, 0]
        losses = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, source), reduction="none")
    else:
        of_target, of_source = prediction.log_softmax(dim=1).chunk(2, dim=1)
        losses = -(labels * (of_source if source else of_target)).sum(dim=1)
    return (losses if weights is None else weights * losses).mean()


def adversarial_loss(prediction: Tensor, weights: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
    """mean(w_s * -log(1 - D(F_s))): what source features pay for being told from target features.

    `prediction` is to come from `frozen_call`; arguments as of `domain_loss`, labels of the source.
    """
    return domain_loss(prediction, source=False, weights=weights, labels=labels)


def discriminator_loss(
    source_prediction: Tensor,
    target_prediction: Tensor,
    source_weights: Tensor | None = None,
    target_weights: Tensor | None = None,
    source_labels: Tensor | None = None,
    target_labels: Tensor | None = None,
) -> Tensor:
    """0.5 CE(w_s: source) + 0.5 CE(w_t: target): that of `D`; without weights and labels that of `Dis`.

    The predictions are to come from detached features; arguments as of `domain_loss`.
    """
    of_source = domain_loss(source_prediction, source=True, weights=source_weights, labels=source_labels)
    of_target = domain_loss(target_prediction, source=False, weights=target_weights, labels=target_labels)
    return 0.5 * of_source + 0.5 * of_target


def _resized(class_logits: Tensor, like: Tensor) -> Tensor:
    logits = class_logits.float()
    return F.interpolate(logits, size=like.shape[-2:], mode="bilinear", align_corners=False)
