"""The linear classifier on pooled tokens of any backbone: its class token, the mean of the others, or both.

As the classifiers of ViT (arXiv 2010.11929), Swin (arXiv 2103.14030) and DINOv2 (arXiv 2304.07193) read theirs: tokens
of the last block are normalised, pooled, and classified.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification
from transformers.modeling_outputs import ImageClassifierOutput

from minorkey.models.heads.around_backbone import AroundBackbone, AroundBackboneConfig


class PooledClassifierConfig(AroundBackboneConfig):
    """Configuration of a `PooledForImageClassification`.

    Args:
        backbone_config: configuration of the backbone, usually a `PyramidConfig`.
        pool: `class` (token), `mean` of the patches, or `both`, one after the other.
        class_token: whether the hidden states of the backbone begin with one.
        dropout: dropout before the classifier.
        norm_eps: of the norm over a token.
        label_smoothing: share of a label that all classes have.
        mixup: a of the Beta(a, a) that training blends images by; 0: it does not.
        weighted: whether losses are weighted by class.
    """

    model_type = "minorkey_pooled"

    pool: str = "mean"
    class_token: bool = False
    dropout: float = 0.0
    norm_eps: float = 1e-6
    label_smoothing: float = 0.0
    mixup: float = 0.0
    weighted: bool = False


class PooledForImageClassification(AroundBackbone):
    """A backbone with a linear classifier on its pooled tokens."""

    config_class = PooledClassifierConfig
    base_model_prefix = "classifier_model"

    def __init__(self, config: PooledClassifierConfig) -> None:
        super().__init__(config)
        width = self.backbone.channels[-1]
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width * (2 if config.pool == "both" else 1), config.num_labels)
        self.register_buffer("class_weights", torch.ones(config.num_labels) if config.weighted else None)
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> ImageClassifierOutput:
        """Logits `(B, K)` of images `(B, 3, H, W)`; with labels `(B,)` also the loss, a mean over the images."""
        logits = self.classifier(self.dropout(self.pooled(pixel_values)))
        loss = None if labels is None else self.losses(logits, labels).mean()
        return ImageClassifierOutput(loss=loss, logits=logits)

    def pooled(self, pixel_values: Tensor) -> Tensor:
        """What an image is classified by, `(B, C)` or, of both poolings, `(B, 2 C)`."""
        output = self.backbone(pixel_values, output_hidden_states=self.config.class_token)
        patches = output.feature_maps[-1].flatten(2).transpose(1, 2)
        if not self.config.class_token:
            return self.norm(patches).mean(dim=1)
        # Not the feature map: some backbones have normalised it already.
        tokens = self.norm(output.hidden_states[self.backbone.config.backbone_config.out_indices[-1]])
        parts = {"class": tokens[:, 0], "mean": tokens[:, -patches.shape[1] :].mean(dim=1)}
        return torch.cat([part for name, part in parts.items() if self.config.pool in (name, "both")], dim=1)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss on each image, `(B,)`: cross-entropy with smoothed labels, times the weight of its class.

        w_y (-(1 - s) log p_y - s / K sum_k log p_k), with s the label smoothing.

        Args:
            logits: `(B, K)`.
            labels: `(B,)` int64 train ids.
        """
        losses = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=self.config.label_smoothing)
        return losses if self.class_weights is None else losses * self.class_weights[labels]


AutoConfig.register(PooledClassifierConfig.model_type, PooledClassifierConfig)
AutoModelForImageClassification.register(PooledClassifierConfig, PooledForImageClassification)
