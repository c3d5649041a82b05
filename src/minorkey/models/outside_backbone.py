"""Anyone's own network as a backbone of transformers."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

from minorkey.errors import OutsideError
from minorkey.models.options import OWN_BACKBONES
from minorkey.system.outside import written_by_others


class OutsideConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of an `OutsideBackbone`.

    Args:
        part: who makes the network, `package.module:attribute`.
        channels: of its feature maps.
        patch_size: multiple that the sides of an image must have.
        image_mean: of the input that the weights expect, per channel.
        image_std: likewise.
    """

    model_type = "minorkey_outside"

    part: str = ""
    channels: list[int] | None = None
    patch_size: int | None = None
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Name the feature maps `stage1`, `stage2`, ... and choose them all, unless told otherwise."""
        self.stage_names = [f"stage{i + 1}" for i in range(len(self.channels or [0]))]
        chosen = kwargs.pop("out_features", None) or list(self.stage_names)
        self.set_output_features_output_indices(out_features=chosen, out_indices=kwargs.pop("out_indices", None))
        super().__post_init__(**kwargs)


class OutsideBackbone(BackboneMixin, PreTrainedModel):
    """The chosen feature maps `(B, C_i, h_i, w_i)` of a network that returns all of its own, finest first."""

    config_class = OutsideConfig
    main_input_name = "pixel_values"
    base_model_prefix = "network"
    has_attentions = False

    def __init__(self, config: OutsideConfig, network: nn.Module | None = None) -> None:
        super().__init__(config)
        if network is None:  # from a configuration alone, which may be someone else's
            with written_by_others("the configuration of a saved model"):
                network = make_network(config.part)
        self.network = network
        self.num_features = list(config.channels or [])
        self._output_capturing_hooks_installed = True  # there is nothing of transformers inside to capture
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """The network comes with its weights."""

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BackboneOutput:
        """Feature maps of images `(B, 3, H, W)`."""
        maps = tuple(self.network(pixel_values))
        return BackboneOutput(feature_maps=tuple(maps[i] for i in self.config.out_indices))


def make_network(part: str) -> nn.Module:
    """The network that `part` makes, with weights of its own; what it draws is the same every time.

    Raises:
        OutsideError: it is none, or does not say how many channels its feature maps have.
    """
    # A pyramid is made on no device at first, where weights could not be read.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(0)
        network = OWN_BACKBONES.resolve(part)()
    if not isinstance(network, nn.Module) or not getattr(network, "channels", None):
        raise OutsideError(
            f"backbone '{part}' makes a {type(network).__name__}; expected an nn.Module whose attribute `channels` "
            "lists the channels of the feature maps that it returns (docs/extending.md)"
        )
    return network


def outside_backbone(part: str) -> OutsideBackbone:
    """Anyone's own network, around which heads are built as around any other."""
    network: Any = make_network(part)
    settings = {key: getattr(network, key, None) for key in ("patch_size", "image_mean", "image_std")}
    return OutsideBackbone(OutsideConfig(part=part, channels=list(network.channels), **settings), network)


AutoConfig.register(OutsideConfig.model_type, OutsideConfig)
AutoBackbone.register(OutsideConfig, OutsideBackbone)
