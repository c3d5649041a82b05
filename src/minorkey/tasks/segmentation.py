"""Semantic segmentation: its loss, and the class probabilities of whole images.

The one place that tells models of logits per pixel from models of masks (`MASK_MODELS`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.evaluation.protocol import Protocol
from minorkey.evaluation.sliding import sliding_logits
from minorkey.models.heads.eomt import set_progress
from minorkey.models.heads.masks import MASK_MODELS, mask_targets, semantic_scores


class Segmentation:
    """Any model of transformers for semantic segmentation, or for universal segmentation by masks."""

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The model's own loss on a batch: a mask model's terms by name, any other's as a whole."""
        network = extract_model_from_parallel(model)
        if not isinstance(network, MASK_MODELS):
            return {"segmentation": model(pixel_values=batch.pixel_values, labels=batch.labels).loss}
        masks, classes = mask_targets(batch.labels)
        with _recorded_terms(network.criterion) as terms:
            model(pixel_values=batch.pixel_values, mask_labels=masks, class_labels=classes)
        return {name: torch.stack([call[name] for call in terms]).sum() for name in terms[0]}

    def set_progress(self, model: nn.Module, share: float) -> None:
        """Tell the model how much of its training is done, 0 to 1; an EoMT's masked attention follows it."""
        set_progress(extract_model_from_parallel(model), share)

    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Tensor:
        """Class probabilities `(B, K, H, W)` of normalised images `(B, 3, H, W)` under a test protocol.

        Windows are averaged as logits; scales and mirrored images as probabilities. Of a mask model, windows,
        scales and mirrored images are all averaged as scores, and the sum of a pixel's scores is made 1 at the end.
        """
        by_masks = isinstance(model, MASK_MODELS)
        read = _mask_scores if by_masks else _pixel_logits
        views = [(scale, mirrored) for scale in protocol.scales for mirrored in (False, True)[: 1 + protocol.flip]]
        total = torch.zeros(())
        for scale, mirrored in views:
            images = _resized(pixel_values, protocol.resize, scale)
            scores = sliding_logits(
                lambda crops: read(model, crops),
                images.flip(-1) if mirrored else images,
                protocol.window,
                protocol.stride,
                window_batch,
            )
            scores = _resize_to(scores.flip(-1) if mirrored else scores, pixel_values.shape[-2:])
            total = total.to(scores) + (scores if by_masks else scores.softmax(dim=1))
        return total / total.sum(dim=1, keepdim=True)


@contextmanager
def _recorded_terms(criterion: nn.Module) -> Iterator[list[dict[str, Tensor]]]:
    """What the criterion returns in each call: transformers' models add it up and return the sum alone."""
    calls: list[dict[str, Tensor]] = []
    handle = criterion.register_forward_hook(lambda _module, _inputs, terms: calls.append(terms))
    try:
        yield calls
    finally:
        handle.remove()


def _pixel_logits(model: nn.Module, crops: Tensor) -> Tensor:
    return model(pixel_values=crops).logits.float()


def _mask_scores(model: nn.Module, crops: Tensor) -> Tensor:
    output = model(pixel_values=crops)
    return semantic_scores(output.class_queries_logits.float(), output.masks_queries_logits.float(), crops.shape[-2:])


def _resized(images: Tensor, long_side: int | None, scale: float) -> Tensor:
    """Images with their long side at `long_side` (None: as it is) times `scale`."""
    height, width = images.shape[-2:]
    factor = scale * (long_side / max(height, width) if long_side is not None else 1.0)
    return _resize_to(images, torch.Size((max(1, round(height * factor)), max(1, round(width * factor)))))


def _resize_to(maps: Tensor, size: torch.Size) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
