"""A backbone's `config.json` says of which form a network is, and nothing else.

transformers takes more from it: kernels that it would download and run, weights of other repositories, other names of
files. The configuration may be anyone's, so whatever asks for such is refused before transformers acts on it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils import ADAPTER_CONFIG_NAME, cached_file

from minorkey.errors import ModelError

ATTENTION = ("attn_implementation", "experts_implementation")
"""Ends of keys that choose the code of a layer, which may be the name of a repository; transformers' own are these."""
OWN_CODE = ("eager", "sdpa")

REFUSED = {
    "quantization_config": "quantised weights",
    "compression_config": "compressed weights",
    "transformers_weights": "a file of weights by a name of its own",
    "use_kernels": "kernels from elsewhere",
    "kernel_config": "kernels from elsewhere",
    "use_pretrained_backbone": "weights from elsewhere",
    "distributed_config": "several processes",
}
"""Key of a configuration -> what it asks for, where it is set."""

FETCHING = ("timm_backbone",)
"""Kinds of models that load weights by themselves, of whichever name the configuration gives."""


def check_source(source: str, revision: str) -> None:
    """Make sure that loading a backbone runs and fetches nothing but its own weights.

    Args:
        source: local folder or hub id.
        revision: of the hub id.

    Raises:
        ModelError: its configuration asks for more.
        OSError: there is no configuration.
        ValueError: it is none.
    """
    values, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
    for key, value in _nested(values):
        if asked := _asked(key, value):
            raise ModelError(
                f"backbone '{source}': its config.json has {key}: {str(value)[:60]!r}, which asks for {asked}; only "
                "plain safetensors weights and transformers' own code are used: take that key out, or another backbone"
            )
    if _is_adapter(source, revision):
        raise ModelError(
            f"backbone '{source}' holds {ADAPTER_CONFIG_NAME}: it is an adapter, which names another model as its "
            "base; give that model, or a folder without the file"
        )


def _asked(key: str, value: Any) -> str:
    """What a key asks for beyond the form of the network; empty: nothing."""
    if key == "model_type" and value in FETCHING:
        return "weights from elsewhere"
    if key.removesuffix("_internal").endswith(ATTENTION) and value is not None and value not in OWN_CODE:
        return "code that is not transformers' own"
    return REFUSED.get(key, "") if value else ""


def _nested(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys and values of a configuration and of those inside it."""
    for key, value in values.items():
        yield key, value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from _nested(inner)


def _is_adapter(source: str, revision: str) -> bool:
    if Path(source).is_dir():
        return (Path(source) / ADAPTER_CONFIG_NAME).exists()
    return (
        cached_file(
            source,
            ADAPTER_CONFIG_NAME,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        is not None
    )
