"""The heads of image classification, a row each."""

from typing import Any

import torch
from torch import nn
from transformers import Dinov2ForImageClassification, Dinov2WithRegistersForImageClassification, PreTrainedModel

from minorkey.errors import ModelError
from minorkey.models.build import Head, backbone_of, head_catalog, whole
from minorkey.models.heads.classification.pooled import PooledClassifierConfig, PooledForImageClassification
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidBackbone

STOCK: dict[str, type[PreTrainedModel]] = {
    "dinov2": Dinov2ForImageClassification,
    "dinov2_with_registers": Dinov2WithRegistersForImageClassification,
}
"""Classes of transformers that compute what this head does, by the backbone's model type."""


class Pooled(Head):
    """A linear classifier on pooled tokens; it starts with the norm that the backbone was pretrained with."""

    def on(self, backbone: PreTrainedModel, num_labels: int, options: HeadOptions, seed: int) -> PreTrainedModel:
        """A model around the backbone.

        Raises:
            ModelError: its class token is asked for, and it has none; or the weights are not one for each class.
        """
        weights = options.weights_of(num_labels)
        pyramid, norm = PyramidBackbone.around(backbone, None), _final_norm(backbone)
        config = PooledClassifierConfig(
            backbone_config=pyramid.config,
            num_labels=num_labels,
            pool=_pool(backbone, options.pool),
            class_token=_has_class_token(backbone),
            dropout=options.dropout,
            norm_eps=1e-6 if norm is None else norm.eps,
            label_smoothing=options.label_smoothing,
            mixup=options.mixup,
            weighted=weights is not None,
        )
        torch.default_generator.manual_seed(seed)  # of the CPU alone, which is put back
        model = PooledForImageClassification(config)
        model.backbone = pyramid  # the pretrained one in place of a random one
        if norm is not None:
            model.norm.load_state_dict(norm.state_dict())
        if weights is not None:
            model.class_weights.copy_(torch.tensor(weights))
        return model

    def replayed(self, model: nn.Module) -> list[nn.Module]:
        """The backbone."""
        return [backbone_of(model)]

    def stock(self, model: PreTrainedModel) -> PreTrainedModel | None:
        """A DINOv2 with its own classifier, which reads both poolings behind the final norm, as this head does."""
        backbone = model.backbone.backbone
        stock_class = STOCK.get(backbone.config.model_type)
        last = len(backbone.config.stage_names) - 1
        if stock_class is None or model.config.pool != "both" or backbone.config.out_indices[-1] != last:
            return None
        settings = backbone.config.to_dict()
        config = type(backbone.config).from_dict(settings | {"id2label": model.config.id2label, "label2id": None})
        stock = stock_class(config)
        part = getattr(stock, stock.base_model_prefix)
        part.load_state_dict(backbone.state_dict())
        part.layernorm.load_state_dict(model.norm.state_dict())
        stock.classifier.load_state_dict(model.classifier.state_dict())
        return stock.eval()


def _pool(backbone: Any, asked: str | None) -> str:
    """How tokens are pooled."""
    has_token = _has_class_token(backbone)
    if not has_token and asked not in (None, "mean"):
        raise ModelError(f"head.pool is {asked}, but a {backbone.config.model_type} has no class token; set it to mean")
    return asked or ("both" if has_token else "mean")


def _has_class_token(backbone: Any) -> bool:
    """Whether hidden states begin with a class token, as those of transformers' own ViTs do; a Pixio has several."""
    tokens = [getattr(getattr(part, "embeddings", None), "cls_token", None) for part in _parts(backbone)]
    return any(token is not None and token.shape[1] == 1 for token in tokens)


def _final_norm(backbone: Any) -> torch.nn.LayerNorm | None:
    """The norm that follows the last block, which feature maps come without."""
    norms = [getattr(part, name, None) for part in _parts(backbone) for name in ("layernorm", "norm")]
    width = (backbone.channels[-1],)
    fitting = (norm for norm in norms if isinstance(norm, nn.LayerNorm) and tuple(norm.normalized_shape) == width)
    return next(fitting, None)


def _parts(backbone: Any) -> list[Any]:
    """A backbone and the model that it is made around, as a BEiT's and a Swin's are."""
    return [backbone, getattr(backbone, backbone.base_model_prefix, None)]


CLASSIFICATION_HEADS = head_catalog({"pooled": Pooled(compiled=whole)})
