"""The pretrained backbone as its own library builds it, where the trained model has other names for its layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from minorkey.models.backbone import load_backbone
from minorkey.models.heads.segmentation.eomt import EOMT_MODELS, encoder_state
from minorkey.models.options import BackboneOptions
from minorkey.models.timm_backbone import TimmFeatures


@dataclass(frozen=True)
class Base:
    """An untouched pretrained network, and what its layers are called in the model that was trained."""

    network: nn.Module
    layers: Mapping[str, str]  # name in the trained backbone -> in the network


def base_of(model: PreTrainedModel, backbone: nn.Module, options: BackboneOptions) -> Base | None:
    """The base of an EoMT, a DINO backbone, or of a timm backbone, the network of timm; None where no name differs.

    Args:
        model: the trained model.
        backbone: the pretrained part inside.
        options: what it was loaded by.
    """
    if isinstance(backbone, TimmFeatures):
        network: Any = load_backbone(options).network.network
        return Base(network, {f"network.{name}": name for name, _ in network.named_modules()})
    if isinstance(model, EOMT_MODELS):
        network = load_backbone(options).network
        return Base(network, layers_in_eomt(network))
    return None


def layers_in_eomt(backbone: PreTrainedModel) -> dict[str, str]:
    """Name of each layer in the EoMT that is made of a backbone -> in the backbone: where its own weights went."""
    names = {tensor.data_ptr(): name for name, tensor in backbone.state_dict().items()}
    moved = {name: names.get(tensor.data_ptr()) for name, tensor in encoder_state(backbone).items()}
    return {name.rpartition(".")[0]: old.rpartition(".")[0] for name, old in moved.items() if old is not None}
