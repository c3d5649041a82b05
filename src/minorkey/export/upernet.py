"""UperNet on a resized pyramid under a name of its own: a folder called `upernet` would promise stock classes."""

from transformers import UperNetConfig, UperNetForSemanticSegmentation


class PyramidUperNetConfig(UperNetConfig):
    """Configuration of a `PyramidUperNetForSemanticSegmentation`; its `backbone_config` is a pyramid's."""

    model_type = "minorkey_upernet"

    @classmethod
    def around(cls, config: UperNetConfig) -> "PyramidUperNetConfig":
        """The same values under the other name."""
        return cls.from_dict({name: value for name, value in config.to_dict().items() if name != "model_type"})


class PyramidUperNetForSemanticSegmentation(UperNetForSemanticSegmentation):
    """transformers' UperNet, unchanged."""

    config_class = PyramidUperNetConfig
