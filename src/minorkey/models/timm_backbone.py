"""timm's networks as backbones of transformers: the feature maps of their blocks or stages, without a final norm.

transformers' `TimmBackbone` loads weights by timm's names and from the hub alone; this one loads as every other
backbone does, from a folder or a repository in timm's own format.
"""

import importlib
import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput

from minorkey.errors import ModelError

ANY_SIZE = {"dynamic_img_size": True, "strict_img_size": False}
"""What lets a network take images of any size, of the settings that it knows."""

LOADING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""What makes timm load weights by itself, pickles too. Settings may be from a stranger's file: these are not taken."""


class TimmFeaturesConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of a `TimmFeatures`.

    Args:
        architecture: timm's name of it, without the tag of its weights.
        stages: names of the feature maps that there are: blocks of a plain ViT, stages of others after a `stem`.
        patch_size: of a plain ViT; None for others, and for the architecture's own.
        image_size: side of the images that its position embedding is made for; None for the architecture's own.
        multiple: of what the sides of an image have to be; None where that is the patch size, or any side will do.
        settings: what else `timm.create_model` is told.
        image_mean: of the input that the weights expect, per channel.
        image_std: likewise.
    """

    model_type = "minorkey_timm"

    architecture: str = "vit_tiny_patch16_224"
    stages: list[str] | None = None
    patch_size: int | None = None
    image_size: int | None = None
    multiple: int | None = None
    settings: dict[str, Any] | None = None
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Choose the last feature map, unless told otherwise."""
        self.stage_names = self.stages or ["stage1"]
        chosen = kwargs.pop("out_features", None)
        self.set_output_features_output_indices(out_features=chosen, out_indices=kwargs.pop("out_indices", None))
        super().__post_init__(**kwargs)


class TimmFeatures(BackboneMixin, PreTrainedModel):
    """A timm network that returns feature maps `(B, C_i, h_i, w_i)`, in place of classes."""

    config_class = TimmFeaturesConfig
    main_input_name = "pixel_values"
    base_model_prefix = "network"  # so that weights saved by timm, without this prefix, are read as well
    has_attentions = False

    def __init__(self, config: TimmFeaturesConfig) -> None:
        super().__init__(config)
        self.network: Any = create_network(config)
        self.num_features = [info["num_chs"] for info in self.network.feature_info]
        self._output_capturing_hooks_installed = True  # there is nothing of transformers inside to capture
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        # timm has drawn the weights. What it computes and does not save is lost where transformers loads weights
        # into a network without memory; timm's modules have this to make up for it.
        if hasattr(module, "init_non_persistent_buffers"):
            module.init_non_persistent_buffers()

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BackboneOutput:
        """Feature maps of images `(B, 3, H, W)`."""
        maps = self.network.forward_intermediates(
            pixel_values, indices=self.config.out_indices, intermediates_only=True
        )
        return BackboneOutput(feature_maps=tuple(maps))


def create_network(config: TimmFeaturesConfig) -> Any:
    """The network of a configuration, with random weights.

    Raises:
        ModelError: timm is missing, or does not have it.
    """
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(
            f"'{config.architecture}' is a network of timm, which is not installed; pip install 'minorkey[timm]'"
        ) from error
    if not timm.is_model(config.architecture):
        raise ModelError(
            f"timm {timm.__version__} has no network '{config.architecture}'; timm.list_models() has those that it has"
        )
    sizes = {"img_size": config.image_size, "patch_size": config.patch_size}
    told = {name: value for name, value in (config.settings or {}).items() if name not in LOADING}
    settings = told | {name: value for name, value in sizes.items() if value is not None}
    with torch.device("meta"):
        known = inspect.signature(type(timm.create_model(config.architecture)).__init__).parameters
    settings |= {name: value for name, value in ANY_SIZE.items() if name in known}
    return timm.create_model(config.architecture, num_classes=0, global_pool="", **settings)


def timm_config(given: PreTrainedConfig, known: dict[str, Any]) -> TimmFeaturesConfig:
    """The configuration for weights in timm's format.

    Args:
        given: what transformers makes of timm's own `config.json`.
        known: values that are to be taken in place of those in it.
    """
    pretrained = given.pretrained_cfg
    values = {
        "architecture": given.architecture,
        "settings": given.model_args,
        "image_mean": pretrained["mean"],
        "image_std": pretrained["std"],
    } | known
    with torch.device("meta"):
        network = create_network(TimmFeaturesConfig(**values))
    strides = [info["reduction"] for info in network.feature_info]
    if strides[0] == strides[-1]:  # a plain ViT
        values = {"patch_size": strides[0], "image_size": network.patch_embed.img_size[0]} | values
    elif getattr(getattr(network, "patch_embed", None), "patch_size", None) == (strides[0], strides[0]):  # a Swin
        values = {"multiple": strides[0]} | values
    stem = ["stem"] if strides[0] < 4 else []
    return TimmFeaturesConfig(**values, stages=stem + [f"stage{i + 1}" for i in range(len(strides) - len(stem))])


AutoConfig.register(TimmFeaturesConfig.model_type, TimmFeaturesConfig)
AutoBackbone.register(TimmFeaturesConfig, TimmFeatures)
