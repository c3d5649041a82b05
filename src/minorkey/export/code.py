"""The source of our own classes beside the weights, so that transformers alone can load them."""

import importlib
import re
from pathlib import Path
from types import ModuleType

from transformers import PreTrainedModel
from transformers.backbone_utils import BackboneMixin

from minorkey.system.storage import write_text

ENTRY = "modeling_minorkey"
ENTRY_TEXT = '''\
"""The classes of this folder, for `trust_remote_code=True`. Written by minorkey, Apache-2.0."""

from transformers import CONFIG_MAPPING, AutoBackbone, AutoConfig

{imports}

for config, backbone in {backbones}:
    if config.model_type not in CONFIG_MAPPING:  # else minorkey, or another of its exports, is in use
        AutoConfig.register(config.model_type, config)
        AutoBackbone.register(config, backbone)

__all__ = ["{config}", "{model}"]
'''
OWN_IMPORT = re.compile(r"^from (minorkey(?:\.\w+)*)\.(\w+) import", re.MULTILINE)
REGISTRATION = re.compile(r"^Auto\w+\.register\(.*\)\n", re.MULTILINE)


def write_code(model: PreTrainedModel, auto_class: str, folder: Path) -> dict[str, str]:
    """Copy the modules that `model` is made of into `folder`, with an entry that transformers imports.

    Args:
        model: has a class of ours, and any number of our backbones inside.
        auto_class: class of transformers that is to load it.
        folder: where to.

    Returns:
        The `auto_map` of the model's configuration.
    """
    backbones = {type(part) for part in model.modules() if isinstance(part, BackboneMixin) and _is_ours(type(part))}
    inside = sorted(backbones, key=lambda part: part.__name__)
    for module in _with_imports({part.__module__ for part in (type(model), *inside)}):
        write_text(folder / f"{_short(module.__name__)}.py", _portable_source(module))
    config, name = type(model).config_class.__name__, type(model).__name__
    pairs = ", ".join(f"({part.config_class.__name__}, {part.__name__})" for part in inside)
    text = ENTRY_TEXT.format(
        imports="\n".join(_import_line(part) for part in (*inside, type(model))),
        backbones=f"({pairs},)",
        config=config,
        model=name,
    )
    write_text(folder / f"{ENTRY}.py", text)
    return {"AutoConfig": f"{ENTRY}.{config}", auto_class: f"{ENTRY}.{name}"}


def _is_ours(part: type) -> bool:
    return part.__module__.startswith("minorkey.")


def _import_line(part: type[PreTrainedModel]) -> str:
    return f"from .{_short(part.__module__)} import {part.config_class.__name__}, {part.__name__}"


def _with_imports(names: set[str]) -> list[ModuleType]:
    """Modules of ours, and those of ours that they import."""
    found: dict[str, ModuleType] = {}
    while names:
        found |= {name: importlib.import_module(name) for name in names}
        imported = {".".join(parts) for module in found.values() for parts in OWN_IMPORT.findall(_source(module))}
        names = imported - found.keys()
    return [found[name] for name in sorted(found)]


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _source(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text(encoding="utf-8")


def _portable_source(module: ModuleType) -> str:
    """A module that finds its neighbours in its own folder, and leaves registering to the entry."""
    return REGISTRATION.sub("", OWN_IMPORT.sub(r"from .\2 import", _source(module))).rstrip() + "\n"
