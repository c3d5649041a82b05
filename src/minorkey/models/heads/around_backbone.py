"""What models of our own share: a backbone, whose configuration is part of theirs."""

from typing import Any

from transformers import AutoBackbone, AutoConfig, PreTrainedConfig, PreTrainedModel


class AroundBackboneConfig(PreTrainedConfig):
    """Configuration of a model around a backbone.

    Args:
        backbone_config: configuration of the backbone, usually a `PyramidConfig`.
    """

    backbone_config: dict | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Complete the nested backbone configuration."""
        if isinstance(self.backbone_config, dict):
            self.backbone_config = AutoConfig.for_model(**self.backbone_config)
        super().__post_init__(**kwargs)


class AroundBackbone(PreTrainedModel):
    """A model that begins with a backbone; a subclass adds its head, and calls `post_init`."""

    main_input_name = "pixel_values"

    def __init__(self, config: AroundBackboneConfig) -> None:
        super().__init__(config)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
