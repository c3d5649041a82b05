"""An adapter as others know it: a stock PEFT folder that loads on the untouched pretrained network."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LNTuningConfig, LoraConfig, PeftConfig, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from minorkey.adapters.attach import as_it_was_on_error, check_bare, lora_ranks
from minorkey.adapters.attached import Attached
from minorkey.adapters.fingerprint import weights_sha256
from minorkey.adapters.fused import SplitProjection
from minorkey.adapters.peft_layers import ADAPTER, exact_names, factors, inject, low_rank_layer
from minorkey.errors import AdapterError, StorageError
from minorkey.system.reading import FAULTS, json_of, words
from minorkey.system.regular import regular_bytes
from minorkey.system.sealed import read_sealed, write_sealed
from minorkey.system.storage import new_folder, read_tensors, usual_mode
from minorkey.system.tensors import is_finite

TENSORS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PROVENANCE = "minorkey.json"  # what PEFT has no field for: the base weights and how the adapter was made


@dataclass(frozen=True)
class PlainLora:
    """The update of one layer as plain LoRA (or DoRA) on its untouched weight."""

    A: Tensor  # (R, in) or (R, in, k, k)
    B: Tensor  # (out, R) or (out, R, 1, 1)
    scaling: float
    bias: Tensor | None  # (out,), trained
    magnitude: Tensor | None  # DoRA: length of each row

    def tensors(self) -> dict[str, Tensor]:
        """By PEFT's names within a layer."""
        named = {
            "lora_A.weight": self.A,
            "lora_B.weight": self.B,
            "lora_magnitude_vector": self.magnitude,
            "base_layer.bias": self.bias,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def to_plain_lora(A: Tensor, B: Tensor, A0: Tensor, B0: Tensor) -> tuple[Tensor, Tensor]:
    """Rewrite a residual adapter of rank r as plain LoRA of rank 2r on the untouched weight.

    The trained weight is `W_res + s B A = W + s (B A - B0 A0)`: twice the rank with the same scaling s, so
    alpha doubles with the rank. In a precision below float32 the two differ by the rounding of `W_res`.

    Args:
        A: trained, `(r, in)` or `(r, in, k, k)`.
        B: trained, `(out, r)` or `(out, r, 1, 1)`.
        A0: initial, shaped as A.
        B0: initial, shaped as B.

    Returns:
        `A (2r, in)` and `B (out, 2r)`, trailing dimensions kept.
    """
    return torch.cat([A, A0], dim=0), torch.cat([B, -B0], dim=1)


def save_adapter(backbone: nn.Module, attached: Attached, folder: str | Path, base_weights_sha256: str) -> None:
    """Write a trained adapter as a stock PEFT folder that loads on the untouched pretrained backbone.

    `peft.PeftModel.from_pretrained(backbone, folder)` reads it, with nothing of minorkey installed.
    An earlier folder of that name is replaced once the new one is complete.

    Args:
        backbone: holds the trained values: the attached backbone, or a copy of it such as a weight average.
        attached: what `attach` gave for it.
        folder: where to.
        base_weights_sha256: `weights_sha256(backbone)` from before the adapter was attached.

    Raises:
        AdapterError: if the method has no adapter.
        StorageError: if the folder cannot be written.
    """
    if not attached.layers:
        raise AdapterError(
            f"method '{attached.method.name}' has no adapter to save; save the backbone's weights instead"
        )
    if attached.method.spec.trains == "norms":
        config, tensors = _plain_norms(backbone, attached)
    else:
        config, tensors = _plain_low_rank(backbone, attached)
    provenance = {
        "base_weights_sha256": base_weights_sha256,
        "method": attached.method.model_dump(mode="json"),
    }
    named = {f"base_model.model.{key}": tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    with new_folder(Path(folder)) as new:
        config.save_pretrained(str(new))
        save_file(named, new / TENSORS, metadata={"format": "pt"})
        write_sealed(new / PROVENANCE, provenance, (CONFIG, TENSORS))
        for file in new.iterdir():
            usual_mode(file)


def load_adapter(backbone: nn.Module, folder: str | Path) -> None:
    """Put a saved adapter onto the untouched backbone, in place and frozen; `fold` merges it.

    After an error the backbone is as it was.

    Raises:
        AdapterError: if the folder holds no adapter of minorkey, the backbone's weights are not those that it
            was trained on, a tensor is missing, misshapen or not finite, or the backbone carries an adapter already.
        StorageError: if a file cannot be read, or is not as it was saved.
    """
    folder = Path(folder)
    check_bare(backbone)
    if empty := next((name for name, parameter in backbone.named_parameters() if parameter.is_meta), None):
        raise AdapterError(f"'{empty}' has no values yet (it is on the meta device); load the pretrained weights first")
    config, tensors, base_weights_sha256 = _read(folder)
    found = weights_sha256(backbone)
    if found != base_weights_sha256:
        raise AdapterError(
            f"adapter '{folder}' was trained on weights with sha256 {base_weights_sha256[:12]}, "
            f"but these have {found[:12]}; load the backbone it was trained on, in the same precision"
        )
    with as_it_was_on_error(backbone, keep_weights=True):
        layers = _layer_names(tensors)
        if other := sorted(_patterns(config.target_modules) ^ _patterns(layers)):
            raise AdapterError(f"adapter '{folder}' names layer '{other[0]}' in one of its files alone; copy it again")
        with torch.random.fork_rng(devices=[]):  # PEFT draws what is loaded right after
            _inject(backbone, config, layers, folder)
        try:
            result = set_peft_model_state_dict(backbone, tensors, adapter_name=ADAPTER)
        except RuntimeError as error:  # torch lists the tensors of another shape
            raise AdapterError(f"adapter '{folder}' does not fit: {str(error).splitlines()[-1].strip()}") from error
        missing = [key for key in result.missing_keys if _is_trained(key, config)]
        if wrong := [*result.unexpected_keys, *missing]:
            raise AdapterError(
                f"adapter '{folder}' does not fit {type(backbone).__name__}: {len(wrong)} tensors have no "
                f"counterpart, first '{wrong[0]}'; load the backbone it was trained on"
            )
    backbone.requires_grad_(False)


def _inject(backbone: nn.Module, config: PeftConfig, layers: set[str], folder: Path) -> None:
    """`inject` for a configuration that anyone may have written: PEFT fails of what is wrong in it in many ways."""
    if foreign := [name for name in ("megatron_config", "modules_to_save") if getattr(config, name, None) is not None]:
        raise AdapterError(f"adapter '{folder}' has {foreign[0]}, which none of minorkey has; save or copy it again")
    try:
        inject(backbone, config, layers)
    except Exception as error:
        raise AdapterError(
            f"{CONFIG} of adapter '{folder}' is wrong ({words(error)}); save or copy it again"
        ) from error


def _patterns(modules: Iterable[str] | str) -> set[str]:
    """`exact_names` in either of its forms as a set of patterns."""
    return set(modules.split("|")) if isinstance(modules, str) else {re.escape(name) for name in modules}


def _is_trained(key: str, config: PeftConfig) -> bool:
    """Whether a tensor of an adapted backbone is one that its adapter has to bring."""
    biases = getattr(config, "bias", "none") != "none" and key.endswith(".base_layer.bias")
    return ".lora_" in key or ".ln_tuning_" in key or biases


def _plain_low_rank(backbone: nn.Module, attached: Attached) -> tuple[PeftConfig, dict[str, Tensor]]:
    layers = _fuse_parts(backbone, {name: _plain_layer(backbone, attached, name) for name in attached.layers})
    ranks = {name: layer.A.shape[0] for name, layer in layers.items()}
    # Always plain scaling alpha / R, whatever the method: PEFT cannot convert rsLoRA with ranks that differ.
    alphas = {name: layer.scaling * layer.A.shape[0] for name, layer in layers.items()}
    config = LoraConfig(
        **lora_ranks(ranks, alphas),
        use_dora=any(layer.magnitude is not None for layer in layers.values()),
        target_modules=exact_names(backbone, layers),
        bias="lora_only" if attached.method.trains_biases else "none",
        inference_mode=True,
    )
    return config, {f"{name}.{key}": t for name, layer in layers.items() for key, t in layer.tensors().items()}


def _plain_layer(backbone: nn.Module, attached: Attached, name: str) -> PlainLora:
    layer = low_rank_layer(backbone, name)
    A, B = (parameter.detach() for parameter in factors(layer))
    if attached.method.spec.residual:
        A, B = to_plain_lora(A, B, *(initial.to(A.device) for initial in attached.initial[name]))
    bias = layer.get_base_layer().bias
    magnitudes = layer.lora_magnitude_vector
    return PlainLora(
        A=A,
        B=B,
        scaling=layer.scaling[ADAPTER],
        bias=bias.detach() if attached.method.trains_biases and bias is not None else None,
        magnitude=magnitudes[ADAPTER].weight.detach() if ADAPTER in magnitudes else None,
    )


def _fuse_parts(backbone: nn.Module, layers: Mapping[str, PlainLora]) -> dict[str, PlainLora]:
    """The same updates, those of the parts of a fused projection as one on the whole."""
    whole: dict[str, PlainLora] = {}
    for name, layer in layers.items():
        owner, _, _part = name.rpartition(".")
        projection = backbone.get_submodule(owner)
        if not isinstance(projection, SplitProjection):
            whole[name] = layer
        elif owner not in whole:
            parts = {p: layers[f"{owner}.{p}"] for p in projection.parts if f"{owner}.{p}" in layers}
            whole[owner] = _fused_update(projection, parts)
    return whole


def _fused_update(projection: SplitProjection, parts: Mapping[str, PlainLora]) -> PlainLora:
    """`B_q A_q` over `B_k A_k` over `B_v A_v` as one product: A stacked, B block by block."""
    first = next(iter(parts.values()))
    rows = projection.out_features // len(projection.parts)
    B = first.B.new_zeros(projection.out_features, sum(part.A.shape[0] for part in parts.values()))
    column = 0
    for index, name in enumerate(projection.parts):
        if name in parts:
            width = parts[name].A.shape[0]
            B[index * rows : (index + 1) * rows, column : column + width] = parts[name].B
            column += width
    return PlainLora(
        A=torch.cat([part.A for part in parts.values()]),
        B=B,
        scaling=first.scaling,
        bias=_joined(projection, {name: part.bias for name, part in parts.items()}, _bias),
        magnitude=_joined(projection, {name: part.magnitude for name, part in parts.items()}, _row_lengths),
    )


def _joined(
    projection: SplitProjection, adapted: Mapping[str, Tensor | None], untouched: Callable[[nn.Linear], Tensor]
) -> Tensor | None:
    """One value per row of the whole: of adapted parts as given, of the others as `untouched` reads it."""
    values = {name: value for name, value in adapted.items() if value is not None}
    if not values:
        return None
    for name, layer in projection.named_children():
        if name not in values:
            assert isinstance(layer, nn.Linear)
            values[name] = untouched(layer)
    return torch.cat([values[name] for name in projection.parts])


def _bias(layer: nn.Linear) -> Tensor:
    return layer.bias.detach()


def _row_lengths(layer: nn.Linear) -> Tensor:
    return layer.weight.detach().norm(dim=1)


def _plain_norms(backbone: nn.Module, attached: Attached) -> tuple[PeftConfig, dict[str, Tensor]]:
    config = LNTuningConfig(target_modules=exact_names(backbone, attached.layers), inference_mode=True)
    tensors = {
        f"{name}.ln_tuning_layers.{key}": tensor
        for name in attached.layers
        for key, tensor in backbone.get_submodule(f"{name}.ln_tuning_layers.{ADAPTER}").state_dict().items()
    }
    return config, tensors


def _layer_names(tensors: Mapping[str, Tensor]) -> set[str]:
    """The adapted layers of a saved adapter."""
    names = (key.removeprefix("base_model.model.") for key in tensors)
    return {name.split(marker)[0] for name in names for marker in (".lora_A.", ".ln_tuning_layers.") if marker in name}


def _read(folder: Path) -> tuple[PeftConfig, dict[str, Tensor], str]:
    for name in (CONFIG, TENSORS, PROVENANCE):
        if not (folder / name).is_file():
            raise AdapterError(
                f"no adapter saved by minorkey in '{folder}': {name} is missing; give a run's adapter folder"
            )
    try:
        provenance = read_sealed(folder / PROVENANCE)
        base_weights_sha256 = str(provenance.values["base_weights_sha256"])
        provenance.check(CONFIG)
        json_of(regular_bytes(folder / CONFIG))  # in whole, before PEFT reads it
        config = PeftConfig.from_pretrained(str(folder))
        tensors = read_tensors(folder / TENSORS, provenance.sha256(TENSORS))
    except (StorageError, *FAULTS) as fault:
        why = fault if isinstance(fault, StorageError) else words(fault)
        raise StorageError(f"cannot read the adapter in '{folder}': {why}; save or copy it again") from fault
    if bad := [name for name, tensor in tensors.items() if not is_finite(tensor)]:
        raise AdapterError(f"tensor '{bad[0]}' of adapter '{folder}' has values that are not finite; train it again")
    return config, tensors, base_weights_sha256
