"""EoMT (arXiv 2503.19108): queries join the tokens in the last blocks of a plain ViT, and there is no decoder.

transformers' own classes, filled with the weights of a pretrained DINOv2 or DINOv3 backbone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    PreTrainedConfig,
    PreTrainedModel,
)

from minorkey.errors import ModelError
from minorkey.models.heads.segmentation.masks import set_criterion
from minorkey.models.options import HeadOptions

EOMT_MODELS = (EomtForUniversalSegmentation, EomtDinov3ForUniversalSegmentation)

SCHEDULE = "attn_mask_probs"
"""Buffer of an EoMT that the training's schedule sets: part of no head, and zero once trained."""

QUERY_BLOCKS = {12: 3, 24: 4, 40: 5}
"""Blocks of the ViT -> last ones that see the queries, in the paper's models S and B, L, and g."""

QUERIES = 100
"""Unless told otherwise."""

ANNEALING_POWER = 0.9


@dataclass(frozen=True)
class Family:
    """How a backbone's weights and settings are named in the EoMT that is made of it."""

    model: type[PreTrainedModel]
    config: type[PreTrainedConfig]
    names: Mapping[str, str]  # part of a name in the backbone -> in the EoMT


_DINOV2_NAMES = {
    "encoder.layer.": "layers.",
    ".attention.o_proj.": ".attention.out_proj.",
    # as transformers 5.17 calls them
    ".attention.attention.query.": ".attention.q_proj.",
    ".attention.attention.key.": ".attention.k_proj.",
    ".attention.attention.value.": ".attention.v_proj.",
    ".attention.output.dense.": ".attention.out_proj.",
}

FAMILIES = {
    "dinov2": Family(EomtForUniversalSegmentation, EomtConfig, _DINOV2_NAMES),
    "dinov2_with_registers": Family(EomtForUniversalSegmentation, EomtConfig, _DINOV2_NAMES),
    "dinov3_vit": Family(
        EomtDinov3ForUniversalSegmentation, EomtDinov3Config, {"model.layer.": "layers.", "norm.": "layernorm."}
    ),
}
"""By the backbone's model type. A name is changed where it starts with a key, or holds one that starts with a dot."""


class EomtEncoder(nn.Module):
    """The pretrained part of an EoMT: a view of its own modules, without a forward pass."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.config = model.config
        self.embeddings, self.layers, self.layernorm = model.embeddings, model.layers, model.layernorm


def build_eomt(backbone: PreTrainedModel, num_labels: int, options: HeadOptions) -> PreTrainedModel:
    """An EoMT whose encoder holds the weights of `backbone`; queries and prediction layers are random.

    It takes square images of one size, the `image_size` of the backbone.

    Raises:
        ModelError: the backbone is of no family that there is an EoMT for, or has fewer blocks than asked for.
    """
    given = backbone.config
    if given.model_type not in FAMILIES:
        raise ModelError(f"eomt needs a DINOv2 or DINOv3 ViT backbone, got {given.model_type}; take head mask2former")
    family, depth = FAMILIES[given.model_type], given.num_hidden_layers
    blocks = options.query_blocks or QUERY_BLOCKS.get(depth, max(1, depth // 4))
    if blocks > depth:
        raise ModelError(f"head.query_blocks is {blocks}, the backbone has {depth} blocks; set it to 1 ... {depth}")
    config = family.config(
        **_shared_settings(given, family),
        num_labels=num_labels,
        num_queries=options.queries or QUERIES,
        num_blocks=blocks,
        train_num_points=options.points,
    )
    model = family.model(config)
    EomtEncoder(model).load_state_dict(encoder_state(backbone))
    model.attn_mask_probs.zero_()
    set_criterion(model)
    model._disable_attention_mask = _let_see_all
    model.register_forward_pre_hook(_check_size, with_kwargs=True)
    return model


def encoder_state(backbone: PreTrainedModel) -> dict[str, Tensor]:
    """The weights of a DINOv2 or DINOv3 backbone under the names that they have in an `EomtEncoder`."""
    state = backbone.state_dict()
    state.pop("embeddings.mask_token", None)  # for pretraining only
    names = FAMILIES[backbone.config.model_type].names
    renamed = {_renamed(name, names): value for name, value in state.items()}
    position = renamed.pop("embeddings.position_embeddings", None)
    if position is not None:  # an EoMT keeps that of the class token in the token itself
        renamed["embeddings.cls_token"] = renamed["embeddings.cls_token"] + position[:, :1]
        renamed["embeddings.position_embeddings.weight"] = position[0, 1:]
        width = position.shape[-1]
        renamed.setdefault("embeddings.register_tokens", position.new_zeros(1, 0, width))
    return renamed


def set_progress(model: nn.Module, share: float) -> None:
    """Anneal the masked attention of an EoMT: how likely a query block still confines queries to their masks.

    Block i of n goes from 1 to 0 while `share` goes from (i + 1) / (n + 2) to (i + 2) / (n + 2), by a polynomial of
    power 0.9: the schedule of the authors' runs on ADE20K, Cityscapes and COCO. Other models have no such thing.

    Args:
        model: any model, in training.
        share: of the training that is done, 0 to 1.
    """
    if not isinstance(model, EOMT_MODELS):
        return
    count = len(model.attn_mask_probs)
    blocks = torch.arange(count, device=model.attn_mask_probs.device)
    done = (share * (count + 2) - 1 - blocks).clamp(0, 1)
    model.attn_mask_probs.copy_((1 - done) ** ANNEALING_POWER)


def _let_see_all(
    attn_mask: Tensor, prob: Tensor, num_query_tokens: int, encoder_start_tokens: int, device: torch.device
) -> Tensor:
    """Queries drawn with 1 - `prob` see the whole image; transformers' own would have the host read `prob`."""
    freed = torch.rand(len(attn_mask), num_query_tokens, device=device) > prob
    attn_mask[:, :num_query_tokens, encoder_start_tokens:] |= freed[..., None]
    return attn_mask


def _shared_settings(given: PreTrainedConfig, family: Family) -> dict[str, Any]:
    """Settings of the backbone that the EoMT's configuration has too, other than those of every configuration."""
    own = family.config().to_dict().keys() - PreTrainedConfig().to_dict().keys() - {"model_type"}
    settings = {name: value for name, value in given.to_dict().items() if name in own}
    settings["num_register_tokens"] = getattr(given, "num_register_tokens", 0)
    if given.model_type == "dinov3_vit":
        settings["rope_parameters"] = {"rope_type": "default", "rope_theta": given.rope_theta}
    return settings


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        if old.startswith("."):
            name = name.replace(old, new)
        elif name.startswith(old):
            name = new + name.removeprefix(old)
    return name


def _check_size(model: PreTrainedModel, arguments: tuple, named: dict[str, Any]) -> None:
    side = model.config.image_size
    height, width = (named["pixel_values"] if "pixel_values" in named else arguments[0]).shape[-2:]
    if (height, width) != (side, side):
        raise ModelError(
            f"eomt takes images of {side} x {side} pixels here, got {height} x {width}; set transform.crop "
            f"to [{side}, {side}], or backbone.image_size to the side of the crop"
        )


def layers_in_eomt(backbone: PreTrainedModel) -> dict[str, str]:
    """Name of each layer in the EoMT that is made of a backbone -> in the backbone: where its own weights went."""
    names = {tensor.data_ptr(): name for name, tensor in backbone.state_dict().items()}
    moved = {name: names.get(tensor.data_ptr()) for name, tensor in encoder_state(backbone).items()}
    return {name.rpartition(".")[0]: old.rpartition(".")[0] for name, old in moved.items() if old is not None}
