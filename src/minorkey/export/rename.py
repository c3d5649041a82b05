"""A saved adapter under the layer names of another network that holds the same layers."""

import re
from collections.abc import Mapping
from pathlib import Path

from minorkey.adapters import weights_sha256
from minorkey.adapters.convert import CONFIG, PROVENANCE, TENSORS
from minorkey.adapters.peft_layers import exact_names
from minorkey.export.base import PretrainedBase
from minorkey.system.reading import read_json
from minorkey.system.sealed import read_sealed, write_sealed
from minorkey.system.storage import read_tensors, write_json, write_tensors

PREFIX = "base_model.model."  # of PEFT, before the name of every tensor


def rename_layers(folder: Path, base: PretrainedBase) -> None:
    """Rewrite an adapter's folder for `base`, in place."""
    tensors = read_tensors(folder / TENSORS)
    layers = {key: _layer(key.removeprefix(PREFIX), base.layers) for key in tensors}
    renamed = {
        PREFIX + base.layers[layer] + key.removeprefix(PREFIX + layer): tensors[key] for key, layer in layers.items()
    }
    write_tensors(folder / TENSORS, renamed, {"format": "pt"})
    adapted = {layer: base.layers[layer] for layer in set(layers.values())}
    provenance = read_sealed(folder / PROVENANCE).values
    config = read_json(folder / CONFIG)
    config["target_modules"] = exact_names(base.network, list(adapted.values()))
    for name in ("rank_pattern", "alpha_pattern"):
        if name in config:
            config[name] = _renamed_pattern(config[name], adapted)
    write_json(folder / CONFIG, config)
    sha256 = {"base_weights_sha256": weights_sha256(base.network)}
    write_sealed(folder / PROVENANCE, provenance | sha256, (CONFIG, TENSORS))


def _layer(key: str, layers: Mapping[str, str]) -> str:
    """The layer that a tensor of an adapter belongs to."""
    parts = key.split(".")
    return next(name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in layers)


def _renamed_pattern(values: Mapping[str, float], layers: Mapping[str, str]) -> dict[str, float]:
    """Values per layer, as PEFT keeps them: by a pattern that is the layer's whole name."""
    patterns = {f"^{re.escape(old)}$": f"^{re.escape(new)}$" for old, new in layers.items()}
    return {patterns[pattern]: value for pattern, value in values.items()}
