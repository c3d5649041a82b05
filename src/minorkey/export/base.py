"""The pretrained backbone as its own library builds it, where the trained model has other names for its layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from minorkey.models.backbone import load_backbone
from minorkey.models.build import Head
from minorkey.models.options import BackboneOptions
from minorkey.models.timm_backbone import TimmFeatures


@dataclass(frozen=True)
class PretrainedBase:
    """An untouched pretrained network, and what its layers are called in the model that was trained."""

    network: nn.Module
    layers: Mapping[str, str]  # name in the trained backbone -> in the network


def base_of(head: Head, backbone: nn.Module, options: BackboneOptions) -> PretrainedBase | None:
    """The base of a head that holds its layers under other names, or of a timm backbone; None where no name differs.

    Args:
        head: the row of the model's head.
        backbone: the pretrained part inside.
        options: what it was loaded by.
    """
    if isinstance(backbone, TimmFeatures):
        network: Any = load_backbone(options).network.network
        return PretrainedBase(network, {f"network.{name}": name for name, _ in network.named_modules()})
    if not head.holds_backbone:
        return None
    network = load_backbone(options).network
    return PretrainedBase(network, head.layers_inside(network))
