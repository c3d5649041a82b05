"""What the heads that classify masks share: the targets, the criterion, and from masks to class scores.

A mask model gives every query a class and a mask, in place of a class for every pixel (MaskFormer,
arXiv 2107.06278).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    Mask2FormerForUniversalSegmentation,
    PreTrainedModel,
)
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from minorkey.models.heads.matching import Matches, average_count, match, without_absent
from minorkey.models.heads.points import random_points, sample, sample_masks, uncertain_points, with_margin

MASK_MODELS = (
    Mask2FormerForUniversalSegmentation,
    EomtForUniversalSegmentation,
    EomtDinov3ForUniversalSegmentation,
)
"""Models of transformers that take `mask_labels` and `class_labels`, and return masks and classes of queries."""

ABSENT = -1
"""In place of a class, where there is no mask."""

UNKNOWN = -100
"""In place of the class of a query, where nothing is labelled."""


def mask_targets(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Label maps `(B, H, W)` as a mask for every class.

    A pixel to ignore is in no mask, so where it is sampled it counts as outside of every matched one, as in the
    authors' data mapper and in mmsegmentation. Which classes are there stays with the device.

    Returns:
        Masks `(B, K, H, W)` bool and class ids `(B, K)` int64, `ABSENT` where an image shows nothing of the class.
    """
    every = torch.arange(classes, device=labels.device)
    masks = labels[:, None] == every[:, None, None]
    return masks, every.where(masks.flatten(2).any(2), ABSENT)


def semantic_scores(class_logits: Tensor, mask_logits: Tensor, size: torch.Size) -> Tensor:
    """Score of each class at each pixel: the sum over queries of P(class) P(pixel in mask).

    The semantic inference of MaskFormer (arXiv 2107.06278, section 3.4); "no object" is left out. The scores of a
    pixel are positive and need not sum to 1.

    Args:
        class_logits: `(B, Q, K + 1)`, "no object" last.
        mask_logits: `(B, Q, h, w)`, at any resolution.
        size: height and width of the result.

    Returns:
        Scores `(B, K, H, W)`.
    """
    classes = class_logits.softmax(-1)[..., :-1]
    images = []  # one at a time: the masks of all queries at full size are large
    for shares, logits in zip(classes, mask_logits, strict=True):
        masks = F.interpolate(logits[None], size=tuple(size), mode="bilinear", align_corners=False)[0].sigmoid()
        images.append(torch.einsum("qk,qhw->khw", shares, masks))
    return torch.stack(images)


Layers = Sequence[tuple[Tensor, Tensor]]
"""What the layers of a decoder say: logits of masks `(B, Q, h, w)` and of classes `(B, Q, K + 1)`, "no object" last."""


class MaskCriterion(Mask2FormerLoss):
    """The losses of Mask2Former (arXiv 2112.01527), weighted, each summed over the decoder's layers.

    Four things differ from the class of transformers. All layers and images are computed at once, and the host waits
    for the device only for the costs of the matching (`match`). For these, points are drawn once per image, where
    transformers draws them for every layer. And the loss is computed in float32 under autocast as well, divided by the
    average number of masks of a process (transformers 5.23 divides by the number of processes twice). And queries of an
    image without a labelled pixel do not learn to say "no object", of which nothing is known there.
    """

    gathering: list[tuple[Tensor, Tensor]] | None = None

    def forward(
        self,
        masks_queries_logits: Tensor,
        class_queries_logits: Tensor,
        mask_labels: Tensor | list[Tensor],
        class_labels: Tensor | list[Tensor],
        auxiliary_predictions: list[dict[str, Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """The terms `loss_cross_entropy`, `loss_mask` and `loss_dice`, scalars; their sum is the loss.

        Args:
            masks_queries_logits: `(B, Q, h, w)`.
            class_queries_logits: `(B, Q, K + 1)`.
            mask_labels: per image `(K_i, H, W)`, or for all `(B, K, H, W)`.
            class_labels: per image `(K_i,)` int64, or for all `(B, K)`, with `ABSENT` where there is no mask.
            auxiliary_predictions: of other layers, under the names of the first two.
        """
        layers = [(masks_queries_logits, class_queries_logits)]
        for layer in auxiliary_predictions or ():
            layers.append((layer["masks_queries_logits"], layer["class_queries_logits"]))
        if self.gathering is not None:
            self.gathering += layers
            return {name: masks_queries_logits.new_zeros(()) for name in self.weight_dict}
        if isinstance(mask_labels, list):
            mask_labels = pad_sequence(mask_labels, batch_first=True)
        if isinstance(class_labels, list):
            class_labels = pad_sequence(class_labels, batch_first=True, padding_value=ABSENT)
        return self.terms(layers, mask_labels.bool(), class_labels)

    @contextmanager
    def gathered(self) -> Iterator[Layers]:
        """Inside, what the model asks a loss for is kept for one call of `terms`, and its own loss is 0.

        An EoMT asks for every layer by itself.
        """
        self.gathering = []
        try:
            yield self.gathering
        finally:
            self.gathering = None

    def terms(self, layers: Layers, masks: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """As `forward`, of all layers.

        Args:
            layers: what they say.
            masks: `(B, K, H, W)` bool.
            classes: `(B, K)` int64, `ABSENT` where there is no mask.
        """
        with torch.autocast(masks.device.type, enabled=False):
            predicted = [mask.float() for mask, _ in layers]
            logits = torch.stack([said.float() for _, said in layers])
            masks = with_margin(masks).flatten(0, 1)
            (found,) = match([self.costs(predicted, logits, masks, classes)])
            terms = {"loss_cross_entropy": self.class_loss(logits, classes, found)}
            terms |= self.mask_losses(predicted, masks, classes, found)
        return {name: weight * terms[name] for name, weight in self.weight_dict.items()}

    @torch.no_grad()
    def costs(self, predicted: Sequence[Tensor], logits: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
        """What it costs a query to find a mask, for `match`: `(L, B, Q, K)`.

        Args:
            predicted: of each layer, logits of masks `(B, Q, h, w)`.
            logits: of classes `(L, B, Q, K + 1)`.
            masks: `(B K, H, W)` bool, with a margin.
            classes: `(B, K)`.
        """
        points = random_points(len(classes), self.num_points, classes.device)
        rows = torch.arange(classes.numel(), device=classes.device).view(*classes.shape, 1)
        wanted = sample_masks(masks, rows, points[:, None])
        sides = F.pad(wanted, (0, 0, 0, 1), value=1.0).transpose(1, 2)  # the last mask is everything
        grid = points[:, :, None]
        said = [_compared(sample(layer, grid), sides) for layer in predicted]
        entropy, common = (torch.stack(parts) for parts in zip(*said, strict=True))
        entropy, common, sizes = entropy[..., :-1], common[..., :-1], common[..., -1:]
        dice = 1 - (2 * common + 1) / (sizes + wanted.sum(2)[:, None] + 1)
        places = classes.clamp(min=0)[None, :, None].expand(len(logits), -1, logits.shape[2], -1)
        likely = logits.softmax(-1).gather(-1, places)
        weights, matcher = entropy / self.num_points, self.matcher
        total = matcher.cost_mask * weights - matcher.cost_class * likely + matcher.cost_dice * dice
        return without_absent(total, classes != ABSENT)

    def class_loss(self, logits: Tensor, classes: Tensor, found: Matches) -> Tensor:
        """The weighted cross-entropy, summed over the layers; in all of them as many queries find a mask."""
        wanted = torch.full(logits.shape[:-1], self.num_labels, device=logits.device)
        layers = torch.arange(len(logits), device=logits.device)[:, None]
        wanted[layers, found.images, found.queries] = classes[found.images, found.targets]
        labelled = (classes != ABSENT).any(1)
        wanted = wanted.where(labelled[:, None], UNKNOWN)
        mean = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), self.empty_weight, ignore_index=UNKNOWN)
        return len(logits) * mean.where(labelled.any(), 0.0)

    def mask_losses(
        self, predicted: Sequence[Tensor], masks: Tensor, classes: Tensor, found: Matches
    ) -> dict[str, Tensor]:
        """Cross-entropy and dice loss of the matched masks, at points that are drawn for each."""
        pairs = zip(predicted, found.images, found.queries, strict=True)
        matched = torch.cat([layer[images, queries] for layer, images, queries in pairs])
        points = uncertain_points(matched, self.num_points, self.oversample_ratio, self.importance_sample_ratio)
        rows = (found.images * classes.shape[1] + found.targets).view(-1, 1)
        wanted, logits = sample_masks(masks, rows, points), sample(matched[:, None], points[:, :, None])[:, 0]
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        shares = logits.sigmoid()
        dice = 1 - (2 * (shares * wanted).sum(1) + 1) / (shares.sum(1) + wanted.sum(1) + 1)
        count = average_count((classes != ABSENT).sum())
        return {"loss_mask": entropy.mean(1).sum() / count, "loss_dice": dice.sum() / count}


def _compared(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the points of logits `(B, Q, P)` with masks `(B, P, K)`, each `(B, Q, K)`.

    Returns:
        Of the cross-entropy, softplus(x) - x t, and of what a prediction and a mask have in common.
    """
    entropy = torch.baddbmm(F.softplus(logits).sum(2, keepdim=True), logits, wanted, alpha=-1)
    return entropy, torch.bmm(logits.sigmoid(), wanted)


def set_criterion(model: PreTrainedModel) -> None:
    """Let a mask model of transformers learn by `MaskCriterion`, which weights the terms itself."""
    model.criterion = MaskCriterion(model.config, model.weight_dict)
    model.weight_dict = {}
