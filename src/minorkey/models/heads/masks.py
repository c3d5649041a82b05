"""What the heads that classify masks share: the targets, the criterion, and from masks to class scores.

A mask model gives every query a class and a mask, in place of a class for every pixel (MaskFormer,
arXiv 2107.06278).
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    Mask2FormerForUniversalSegmentation,
    PreTrainedModel,
)
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

MASK_MODELS = (
    Mask2FormerForUniversalSegmentation,
    EomtForUniversalSegmentation,
    EomtDinov3ForUniversalSegmentation,
)
"""Models of transformers that take `mask_labels` and `class_labels`, and return masks and classes of queries."""


def mask_targets(labels: Tensor, ignore_index: int = 255) -> tuple[list[Tensor], list[Tensor]]:
    """Label maps `(B, H, W)` as one mask per class that is present.

    A pixel to ignore is in no mask, so where it is sampled it counts as outside of every matched one, as in the
    authors' data mapper and in mmsegmentation. An image without any labelled pixel has zero masks.

    Returns:
        Masks `(K_i, H, W)` float32 and class ids `(K_i,)` int64, one of each per image.
    """
    masks, classes = [], []
    for image in labels:
        present = image.unique()
        present = present[present != ignore_index]
        masks.append((image == present[:, None, None]).float())
        classes.append(present.long())
    return masks, classes


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


class MaskCriterion(Mask2FormerLoss):
    """The losses of Mask2Former (arXiv 2112.01527), weighted, each summed over the decoder's layers.

    Two things differ from the class of transformers: it computes in float32 under autocast as well, and it divides
    by the average number of masks of a process (transformers 5.23 divides by the number of processes twice).
    """

    def forward(
        self,
        masks_queries_logits: Tensor,
        class_queries_logits: Tensor,
        mask_labels: list[Tensor],
        class_labels: list[Tensor],
        auxiliary_predictions: list[dict[str, Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """The terms `loss_cross_entropy`, `loss_mask` and `loss_dice`, scalars; their sum is the loss."""
        layers = [{"masks_queries_logits": masks_queries_logits, "class_queries_logits": class_queries_logits}]
        with torch.autocast(masks_queries_logits.device.type, enabled=False):
            terms = [
                super(MaskCriterion, self).forward(
                    layer["masks_queries_logits"].float(),
                    layer["class_queries_logits"].float(),
                    mask_labels,
                    class_labels,
                )
                for layer in [*layers, *(auxiliary_predictions or ())]
            ]
        return {name: weight * sum(term[name] for term in terms) for name, weight in self.weight_dict.items()}

    def get_num_masks(self, class_labels: list[Tensor], device: torch.device) -> Tensor:
        """Masks of the batch, averaged over the processes that share it; at least 1."""
        count = torch.tensor(float(sum(len(classes) for classes in class_labels)), device=device)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            count /= dist.get_world_size()
        return count.clamp(min=1)


def set_criterion(model: PreTrainedModel) -> None:
    """Let a mask model of transformers learn by `MaskCriterion`, which weights the terms itself."""
    model.criterion = MaskCriterion(model.config, model.weight_dict)
    model.weight_dict = {}
