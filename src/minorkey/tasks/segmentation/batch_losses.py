"""The losses of a batch: of models of logits per pixel, and of models of masks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.labels import IGNORE_INDEX
from minorkey.models.heads.segmentation.masks import mask_targets
from minorkey.models.heads.segmentation.pixel_loss import PixelLoss
from minorkey.models.heads.set_criterion import total
from minorkey.tasks.segmentation.class_scores import normalised, resize_to, scores_of

Scored = tuple[dict[str, Tensor], Callable[[], Tensor]]
"""Terms of a loss, and what gives class probabilities, for those who want them."""

PLAIN = PixelLoss()
"""The cross-entropy."""


def pixel_loss(model: nn.Module, batch: Batch, weights: Tensor | None) -> Scored:
    """Of a model of logits per pixel, as `Segmentation.loss` says."""
    network = extract_model_from_parallel(model)
    auxiliary = getattr(network, "auxiliary_head", None)
    with _handing_on(network, auxiliary):
        output = model(pixel_values=batch.pixel_values)
    logits = resize_to(output.logits, batch.labels.shape[-2:])
    criterion = getattr(network, "pixel_loss", PLAIN)
    (_, main), *more = criterion(logits, batch.labels, weights).items()
    terms = {"segmentation": main, **dict(more)}
    if auxiliary is not None:
        # Out of half precision, as what the model returns by itself is brought: sums over all pixels overflow there.
        given = output.hidden_states[0].float()
        smaller = total(criterion(resize_to(given, batch.labels.shape[-2:]), batch.labels, weights))
        terms["auxiliary"] = network.config.auxiliary_loss_weight * smaller
    return terms, lambda: logits.detach().float().softmax(dim=1)


def mask_loss(model: nn.Module, batch: Batch, weights: Tensor | None) -> Scored:
    """Of a model of masks, as `Segmentation.loss` says."""
    network = extract_model_from_parallel(model)
    labels = batch.labels if weights is None else batch.labels.where(weights > 0, IGNORE_INDEX)
    masks, classes = mask_targets(labels, network.config.num_labels)
    with network.criterion.gathered() as layers:
        output = model(pixel_values=batch.pixel_values, mask_labels=masks, class_labels=classes)
    terms = network.criterion.terms(layers, masks, classes)
    if weights is not None:
        labelled = batch.labels != IGNORE_INDEX
        share = (weights * labelled).sum() / labelled.sum().clamp(min=1)
        terms = {name: share * term for name, term in terms.items()}
    return terms, torch.no_grad()(lambda: normalised(scores_of(output, batch.labels.shape[-2:])))


@contextmanager
def _handing_on(network: nn.Module, auxiliary: nn.Module | None) -> Iterator[None]:
    """Have a model return what its auxiliary head gives, which it keeps to itself, as its only `hidden_states`.

    A part whose output is not returned counts as unused where processes train together.
    """
    if auxiliary is None:
        yield
        return
    given: list[Tensor] = []

    def hand_on(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        output["hidden_states"] = (given.pop(),)
        return output

    handles = [
        auxiliary.register_forward_hook(lambda _module, _inputs, output: given.append(output)),
        network.register_forward_hook(hand_on),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
