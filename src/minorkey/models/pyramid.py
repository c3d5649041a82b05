"""`PyramidBackbone`: the features of any backbone as a pyramid of wanted strides.

An ordinary transformers backbone (registered with `AutoConfig` and `AutoBackbone`), so that every dense
model of transformers takes it through its own `backbone_config`.
"""

from itertools import accumulate
from operator import mul
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput


class PyramidConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of a `PyramidBackbone`.

    Args:
        backbone_config: configuration of the wrapped backbone (its `out_features` are the levels).
        strides: stride of each level in pixels, as many as the wrapped backbone has feature maps; None keeps
            each level at its native resolution.
    """

    model_type = "minorkey_pyramid"

    backbone_config: dict | PreTrainedConfig | None = None
    strides: list[int] | None = None
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Complete the nested configuration and name the levels `level1`, `level2`, ..."""
        if self.backbone_config is None:
            self.backbone_config = AutoConfig.for_model("dinov2")
        if isinstance(self.backbone_config, dict):
            self.backbone_config = AutoConfig.for_model(**self.backbone_config)
        assert isinstance(self.backbone_config, BackboneConfigMixin)
        levels = len(self.backbone_config.out_features)
        if self.strides is not None and len(self.strides) != levels:
            raise ValueError(f"{len(self.strides)} strides for {levels} feature maps")
        self.stage_names = [f"level{i + 1}" for i in range(levels)]
        chosen = kwargs.pop("out_features", None) or list(self.stage_names)
        self.set_output_features_output_indices(out_features=chosen, out_indices=kwargs.pop("out_indices", None))
        super().__post_init__(**kwargs)


class PyramidBackbone(BackboneMixin, PreTrainedModel):
    """Wraps a backbone and resizes its feature maps to the wanted strides (bilinear).

    For a plain ViT of patch 16 and strides (4, 8, 16, 32) this is the x4, x2, x1, x0.5 resize of SoMA's
    recipes (arXiv 2412.04077); a hierarchical backbone already has these strides and passes through.
    Inputs whose sides are no multiple of the patch size, or too small for a PVT v2, are padded at the right and bottom.
    """

    config_class = PyramidConfig
    main_input_name = "pixel_values"
    base_model_prefix = "pyramid"

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__(config)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
        self.num_features = list(self.backbone.channels)
        # The wrapped backbone records its own hidden states. BackboneMixin.post_init would install its
        # recording hooks a second time, and every feature map would then come from the wrong block.
        self._output_capturing_hooks_installed = True
        self.post_init()

    @classmethod
    def around(cls, backbone: PreTrainedModel, strides: list[int] | None) -> "PyramidBackbone":
        """Wrap a loaded backbone, weights included."""
        with torch.device("meta"):  # no memory and no random weights for what is replaced at once
            pyramid = cls(PyramidConfig(backbone_config=backbone.config, strides=strides))
        pyramid.backbone = backbone
        return pyramid

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput:
        """Feature maps `(B, C_i, H / stride_i, W / stride_i)` of an image `(B, 3, H, W)`, finest first.

        With `output_hidden_states` also the hidden states of the wrapped backbone, as it gives them.
        """
        height, width = pixel_values.shape[-2:]
        wanted = {"output_hidden_states": True} if output_hidden_states else {}
        output = self.backbone(_padded(pixel_values, self.config.backbone_config), **wanted)
        maps = output.feature_maps
        if self.config.strides is not None:
            maps = tuple(
                _resize(level, (_cells(height, stride), _cells(width, stride)))
                for level, stride in zip(maps, self.config.strides, strict=True)
            )
        chosen = tuple(maps[i] for i in self.config.out_indices)
        return BackboneOutput(
            feature_maps=chosen, hidden_states=output.hidden_states if wanted else None, attentions=None
        )


def _patch_size(config: PreTrainedConfig) -> tuple[int, int]:
    """Multiple that the sides of an input must have; (1, 1) for backbones that take any size."""
    # A Hiera has patches that overlap: their kernel is not what sides have to be multiples of. `multiple` is timm's.
    names = ("multiple", "patch_stride", "patch_size")
    size = next((value for name in names if (value := getattr(config, name, None))), 1)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _least_side(config: PreTrainedConfig) -> int:
    """Pixels that a side of an input must have: a PVT v2 reduces its maps by a kernel that has to fit in each."""
    if config.model_type != "pvt_v2" or config.linear_attention:
        return 1
    kernels = zip(config.sr_ratios, accumulate(config.strides, mul), strict=True)
    return max((kernel - 1) * stride + 1 for kernel, stride in kernels)  # a map has ceil(side / stride) cells a side


def _padded(pixel_values: Tensor, config: PreTrainedConfig) -> Tensor:
    height, width = pixel_values.shape[-2:]
    least, (rows, columns) = _least_side(config), _patch_size(config)
    bottom = torch.sym_max(_cells(height, rows) * rows, least) - height
    right = torch.sym_max(_cells(width, columns) * columns, least) - width
    return F.pad(pixel_values, (0, right, 0, bottom)) if _unknown(bottom, right) or bottom or right else pixel_values


def _cells(side: int, size: int) -> int:
    """Cells of a size that a side is covered by, rounded up: of positive numbers, which every runtime divides alike."""
    return (side + size - 1) // size


def _resize(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    if not _unknown(*size) and feature_map.shape[-2:] == size:
        return feature_map
    return F.interpolate(feature_map, size=size, mode="bilinear", align_corners=False)


def _unknown(*sides: int) -> bool:
    """Whether sides are symbols of a graph for images of any size, which has to hold where they differ too."""
    return not all(isinstance(side, int) for side in sides)


AutoConfig.register(PyramidConfig.model_type, PyramidConfig)
AutoBackbone.register(PyramidConfig, PyramidBackbone)
