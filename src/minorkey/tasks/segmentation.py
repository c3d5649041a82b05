"""Semantic segmentation: its loss, and the class probabilities of whole images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minorkey.data.sample import Batch
from minorkey.evaluation.protocol import Protocol
from minorkey.evaluation.sliding import sliding_logits


class Segmentation:
    """Any transformers model that maps `pixel_values` to a `SemanticSegmenterOutput`."""

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The model's own loss on a batch, auxiliary heads included."""
        return {"segmentation": model(pixel_values=batch.pixel_values, labels=batch.labels).loss}

    def predict(self, model: nn.Module, pixel_values: Tensor, protocol: Protocol, window_batch: int = 8) -> Tensor:
        """Class probabilities `(B, K, H, W)` of normalised images `(B, 3, H, W)` under a test protocol.

        Windows are averaged as logits, scales and mirrored images as probabilities.
        """
        views = [(scale, mirrored) for scale in protocol.scales for mirrored in (False, True)[: 1 + protocol.flip]]
        total = torch.zeros(())
        for scale, mirrored in views:
            images = _resized(pixel_values, protocol.resize, scale)
            logits = sliding_logits(
                lambda crops: model(pixel_values=crops).logits.float(),
                images.flip(-1) if mirrored else images,
                protocol.window,
                protocol.stride,
                window_batch,
            )
            logits = logits.flip(-1) if mirrored else logits
            total = total.to(logits) + _resize_to(logits, pixel_values.shape[-2:]).softmax(dim=1)
        return total / len(views)


def _resized(images: Tensor, long_side: int | None, scale: float) -> Tensor:
    """Images with their long side at `long_side` (None: as it is) times `scale`."""
    height, width = images.shape[-2:]
    factor = scale * (long_side / max(height, width) if long_side is not None else 1.0)
    return _resize_to(images, torch.Size((max(1, round(height * factor)), max(1, round(width * factor)))))


def _resize_to(maps: Tensor, size: torch.Size) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
