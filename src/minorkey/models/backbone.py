"""Any pretrained backbone: built in, by name, from a local folder (offline) or from the hub."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoBackbone, AutoConfig, PreTrainedConfig

from minorkey.data.pixels import RGB
from minorkey.errors import MinorkeyError, ModelError, unknown
from minorkey.models.catalog import IMAGENET_MEAN, IMAGENET_STD, NORMS, catalog
from minorkey.models.channels import first_layer, own_statistics, with_channels
from minorkey.models.options import OWN_BACKBONES, BackboneOptions, PerChannel
from minorkey.models.outside_backbone import outside_backbone
from minorkey.models.plain_config import check_source
from minorkey.models.quiet import quiet_libraries
from minorkey.models.resize import fit_state_dict
from minorkey.models.timm_backbone import timm_config
from minorkey.system.reading import json_of, reading, shown, words
from minorkey.system.regular import regular_bytes

FEATURE_FRACTIONS = (1 / 3, 1 / 2, 2 / 3, 1)
"""Depths whose features feed the head: blocks 8, 12, 16, 24 of ViT-L (SoMA, arXiv 2412.04077)."""

DEPTHS = re.compile("layer|depth|block")
DEEPEST = 1000
"""Layers of a network. The largest backbone has 48."""


@dataclass(frozen=True)
class Backbone:
    """A loaded backbone and how its input is normalised (channels in 0..1, then minus mean, over std)."""

    network: nn.Module
    mean: PerChannel
    std: PerChannel


def load_backbone(options: BackboneOptions) -> Backbone:
    """Load pretrained weights, resized where `options` ask for another patch or image size.

    Features come without the final norm, as in SoMA's recipes.

    Raises:
        ModelError: the backbone is not found, is no backbone, or cannot be resized.
    """
    if OWN_BACKBONES.knows(options.name):
        return _load_outside(options)
    try:
        return _load_pretrained(options)
    except MinorkeyError:
        raise
    except Exception as error:  # transformers lets whatever a damaged config.json or weight file causes come through
        raise ModelError(_not_loaded(options.name, error)) from error


def _load_pretrained(options: BackboneOptions) -> Backbone:
    source = _locate(options.name)
    with quiet_libraries():
        config = _read_config(source, options)
        config.dtype = torch.float32  # whatever precision the weights are kept in
        _choose_features(config, options.out_blocks)
        network = _read_network(source, config, options)
    resized = _resized_config(config, options)
    if resized is not None:
        fitted_to = type(network)(resized)
        fitted_to.load_state_dict(fit_state_dict(network.state_dict(), fitted_to.state_dict()))
        network = fitted_to
    if options.channels not in (None, RGB):
        network = with_channels(network, options.channels)
    return _normalised(network, options, *_normalisation(options, source, config))


def _normalised(network: nn.Module, options: BackboneOptions, mean: PerChannel, std: PerChannel) -> Backbone:
    """A network with how its input is normalised: as said, else as it was pretrained."""
    names = options.channels or RGB
    mean, std = options.mean or own_statistics(mean, names), options.std or own_statistics(std, names)
    if not len(mean) == len(std) == len(names):
        raise ModelError(
            f"backbone.mean has {len(mean)} numbers and backbone.std {len(std)}, but there are {len(names)} channels; "
            "give one for each"
        )
    return Backbone(network.eval(), mean, std)


def _load_outside(options: BackboneOptions) -> Backbone:
    given = {key: getattr(options, key) for key in ("revision", "patch_size", "image_size")}
    for key in (key for key, value in given.items() if value is not None):
        raise ModelError(f"backbone.{key} is not for '{options.name}', which makes its network by itself; leave it out")
    network = outside_backbone(options.name)
    if options.out_blocks is not None:
        _choose_features(network.config, options.out_blocks)
    mean, std = _triple(network.config.image_mean or IMAGENET_MEAN), _triple(network.config.image_std or IMAGENET_STD)
    if options.channels not in (None, RGB):
        first_layer(network, len(options.channels))
    return _normalised(network.float(), options, mean, std)


def builtin_backbone() -> Path:
    """Folder of the backbone that ships with minorkey: a transformers `PvtV2Backbone`."""
    return Path(str(files("minorkey.models") / "builtin"))


def builtin_head(name: str) -> Path:
    """Folder of the run that trained a head over the frozen backbone that ships with minorkey, as `head_from` has it.

    Args:
        name: `Task.builtin_head`.
    """
    return builtin_backbone() / name


def _locate(name: str) -> str:
    """The folder or hub id behind `name`; a local folder with the name of a row is given as `./<name>`."""
    if name == "builtin":
        return str(builtin_backbone())
    if name in catalog():
        return catalog()[name].hub
    looks_local = Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") != 1
    if not looks_local:
        return name
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"backbone '{name}' not found: expected a hub id such as facebook/dinov2-base, a local folder with "
            f"config.json and model.safetensors, or a name; {unknown('name', name, ['builtin', *catalog()])}"
        )
    return str(folder)


def _refuse_depth(file: Path) -> None:
    """Refuse the configuration in a folder before transformers makes lists as long as it says the network is deep."""
    for name, value in json_of(regular_bytes(file)).items():
        numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int)]
        if DEPTHS.search(name) and max(numbers, default=0) > DEEPEST:
            raise ValueError(f"{name} is {shown(value)}, expected at most {DEEPEST}")


def _read_config(source: str, options: BackboneOptions) -> PreTrainedConfig:
    if (file := Path(source) / "config.json").is_file():
        _refuse_depth(file)
    try:
        check_source(source, options.revision or "main")
        # Said, not left out: a repository with code of its own would have transformers ask whether to run it.
        config = AutoConfig.from_pretrained(source, revision=options.revision or "main", trust_remote_code=False)
    except ImportError as error:  # the configuration is timm's, and that asks for timm
        raise ModelError(f"backbone '{options.name}' is one of timm: pip install 'minorkey[timm]'") from error
    if config.model_type == "timm_wrapper":
        row = catalog().get(options.name)
        return timm_config(config, row.config if row else {})
    if type(config) not in AutoBackbone._model_mapping:
        raise ModelError(
            f"'{options.name}' is a {config.model_type} model, which transformers offers no backbone class for; "
            "use a vision backbone such as dinov2, swin or convnext"
        )
    return config


def _read_network(source: str, config: PreTrainedConfig, options: BackboneOptions) -> nn.Module:
    # Not AutoBackbone.from_pretrained: it asks the hub whether a local folder exists and fails offline.
    backbone_class = AutoBackbone._model_mapping[type(config)]
    network, info = backbone_class.from_pretrained(
        source,
        config=config,
        revision=options.revision or "main",
        use_safetensors=True,
        output_loading_info=True,
    )
    # A backbone's final norm may be absent from a checkpoint; nothing else may start at random values.
    prefix = f"{network.base_model_prefix}."
    missing = sorted(key for key in info["missing_keys"] if "norm" not in key.removeprefix(prefix).split(".")[0])
    if missing:
        raise ModelError(f"'{source}' lacks {len(missing)} weights of its backbone, first '{missing[0]}'")
    return network.float()


def _not_loaded(name: str, error: Exception) -> str:
    reason = words(error)
    row = catalog().get(name)
    asked = f" from {row.hub}" if row else ""
    terms = f"accept its licence ({row.licence}) there and log in with `hf auth login`; " if row and row.gated else ""
    return (
        f"backbone '{name}' could not be loaded{asked} ({reason}); {terms}without network access give a local folder "
        "with config.json and model.safetensors, or 'builtin'"
    )


def depth(config: PreTrainedConfig) -> int:
    """Number of blocks (plain ViT) or stages (hierarchical) that a backbone's features can be taken from."""
    return sum(name != "stem" for name in config.stage_names)


def _choose_features(config: PreTrainedConfig, out_blocks: list[int] | None) -> None:
    """Select the blocks whose features are returned, and no final norm on them."""
    blocks = depth(config)
    if out_blocks is None:
        out_blocks = sorted({max(1, round(blocks * f)) for f in FEATURE_FRACTIONS})
        if blocks <= len(FEATURE_FRACTIONS):
            out_blocks = list(range(1, blocks + 1))
    if not out_blocks or min(out_blocks) < 1 or max(out_blocks) > blocks or sorted(set(out_blocks)) != out_blocks:
        raise ModelError(f"backbone.out_blocks is {out_blocks}; expected ascending numbers from 1 to {blocks}")
    config.out_features = [f"stage{i}" for i in out_blocks]
    for name, value in (("apply_layernorm", False), ("reshape_hidden_states", True)):
        if name in config.to_dict():
            setattr(config, name, value)


def _resized_config(config: PreTrainedConfig, options: BackboneOptions) -> PreTrainedConfig | None:
    """`config` with the asked patch and image size; None where nothing changes."""
    asked = {"patch_size": options.patch_size, "image_size": options.image_size}
    wanted = {key: _sides(value, getattr(config, key, None)) for key, value in asked.items() if value is not None}
    changes = {key: value for key, value in wanted.items() if value != getattr(config, key, None)}
    if not changes:
        return None
    absent = sorted(key for key in changes if key not in config.to_dict())
    if absent:
        raise ModelError(f"a {config.model_type} backbone has no {' or '.join(absent)} to change")
    return type(config).from_dict({**config.to_dict(), **changes})


def _sides(side: int, present: Any) -> int | list[int]:
    """A side in the form of the present value: a Hiera has one for each direction."""
    return side if present is None or isinstance(present, int) else [side] * len(present)


def _normalisation(options: BackboneOptions, source: str, config: PreTrainedConfig) -> tuple[PerChannel, PerChannel]:
    """Input mean and std of a row, of timm's configuration or of preprocessor_config.json; else those of ImageNet."""
    if options.name in catalog():
        return NORMS[catalog()[options.name].norm]
    content = config.to_dict()
    with reading(f"how backbone '{options.name}' normalises images", "give backbone.mean and backbone.std", ModelError):
        with suppress(FileNotFoundError):
            content = json_of(regular_bytes(_preprocessor_file(source, options.revision)))
        return _triple(content.get("image_mean") or IMAGENET_MEAN), _triple(content.get("image_std") or IMAGENET_STD)


def _triple(values: Sequence[float]) -> PerChannel:
    return values[0], values[1], values[2]


def _preprocessor_file(source: str, revision: str | None) -> Path:
    if Path(source).is_dir():
        return Path(source) / "preprocessor_config.json"
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(source, "preprocessor_config.json", revision=revision))
