"""The source of our own classes beside the weights, so that transformers alone can load them."""

import re
import sys
from pathlib import Path
from types import ModuleType

from transformers import PreTrainedModel

from minorkey.models import pyramid
from minorkey.storage import write_text

ENTRY = "modeling_minorkey"
ENTRY_TEXT = '''\
"""The classes of this folder, for `trust_remote_code=True`. Written by minorkey, Apache-2.0."""

from transformers import CONFIG_MAPPING, AutoBackbone, AutoConfig

from .pyramid import PyramidBackbone, PyramidConfig
from .{module} import {config}, {model}

if PyramidConfig.model_type not in CONFIG_MAPPING:  # else minorkey, or another of its exports, is in use
    AutoConfig.register(PyramidConfig.model_type, PyramidConfig)
    AutoBackbone.register(PyramidConfig, PyramidBackbone)

__all__ = ["{config}", "{model}"]
'''
OWN_IMPORT = re.compile(r"^from minorkey(?:\.\w+)*\.(\w+) import", re.MULTILINE)
REGISTRATION = re.compile(r"^Auto\w+\.register\(.*\)\n", re.MULTILINE)


def write_code(model_class: type[PreTrainedModel], folder: Path) -> dict[str, str]:
    """Copy the modules that `model_class` needs into `folder`.

    Returns:
        The `auto_map` of the model's configuration.
    """
    ours = [sys.modules[c.__module__] for c in model_class.__mro__ if c.__module__.startswith("minorkey.")]
    for module in {pyramid, *ours}:
        write_text(folder / f"{_name(module)}.py", _portable_source(module))
    config, model = model_class.config_class.__name__, model_class.__name__
    text = ENTRY_TEXT.format(module=_name(ours[0]), config=config, model=model)
    write_text(folder / f"{ENTRY}.py", text)
    return {"AutoConfig": f"{ENTRY}.{config}", "AutoModelForSemanticSegmentation": f"{ENTRY}.{model}"}


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _portable_source(module: ModuleType) -> str:
    """A module that finds its neighbours in its own folder, and leaves registering to the entry."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    return REGISTRATION.sub("", OWN_IMPORT.sub(r"from .\1 import", source)).rstrip() + "\n"
