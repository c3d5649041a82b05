"""The run configuration: one tree of options, resolved once from a preset and overrides, saved with the results."""

from minorkey.config.files import completed, config_of_others, load_config, resolve, save_config, saved_values
from minorkey.config.run_config import RunConfig
from minorkey.config.values import parse_overrides, presets

__all__ = [
    "RunConfig",
    "completed",
    "config_of_others",
    "load_config",
    "parse_overrides",
    "presets",
    "resolve",
    "save_config",
    "saved_values",
]
