"""An adapter as others know it: plain LoRA in PEFT's own folder format, or folded into the weights."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minorkey.adapters.attach import ADAPTER, Attached, adapted_layer, check_bare, factors, inject
from minorkey.adapters.fingerprint import weights_sha256
from minorkey.errors import AdapterError, StorageError
from minorkey.storage import new_folder

TENSORS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PROVENANCE = "minorkey.json"  # what PEFT has no field for: the base weights and how the adapter was made


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


def fold(backbone: nn.Module) -> None:
    """Merge every adapter into its weight, in place; modules, class and state-dict keys are the old ones.

    Trained biases are the layers' own and stay as they are.
    """
    adapted = [(name, module) for name, module in backbone.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in adapted:
        layer.merge()
        backbone.set_submodule(name, layer.get_base_layer())
    for module in backbone.modules():
        module.__dict__.pop("peft_config", None)  # PEFT's mark on the module that it injected into


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
    provenance = {
        "base_weights_sha256": base_weights_sha256,
        "method": attached.method.model_dump(mode="json"),
    }
    with new_folder(Path(folder)) as new:
        _plain_config(attached).save_pretrained(str(new))
        save_file(_plain_tensors(backbone, attached), new / TENSORS, metadata={"format": "pt"})
        (new / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n")
        for file in new.iterdir():
            file.chmod(0o644)


def load_adapter(backbone: nn.Module, folder: str | Path) -> None:
    """Put a saved adapter onto the untouched backbone, in place and frozen; `fold` merges it.

    Raises:
        AdapterError: if the folder holds no adapter of minorkey, the backbone's weights are not those that it
            was trained on, or the backbone carries an adapter already.
        StorageError: if a file cannot be read.
    """
    folder = Path(folder)
    check_bare(backbone)
    config, tensors, base_weights_sha256 = _read(folder)
    found = weights_sha256(backbone)
    if found != base_weights_sha256:
        raise AdapterError(
            f"adapter '{folder}' was trained on weights with sha256 {base_weights_sha256[:12]}, "
            f"but these have {found[:12]}; load the backbone it was trained on, in the same precision"
        )
    inject(backbone, config)
    result = set_peft_model_state_dict(backbone, tensors, adapter_name=ADAPTER)
    missing = [key for key in result.missing_keys if ".lora_" in key]
    if wrong := [*result.unexpected_keys, *missing]:
        raise AdapterError(
            f"adapter '{folder}' does not fit {type(backbone).__name__}: {len(wrong)} tensors have no "
            f"counterpart, first '{wrong[0]}'; load the backbone it was trained on"
        )
    backbone.requires_grad_(False)


def _plain_config(attached: Attached) -> LoraConfig:
    method = attached.method
    copies = 2 if method.spec.residual else 1
    return LoraConfig(
        r=copies * method.rank,
        lora_alpha=copies * method.alpha,
        target_modules=list(attached.layers),
        bias="lora_only" if method.trains_biases else "none",
        inference_mode=True,
    )


def _plain_tensors(backbone: nn.Module, attached: Attached) -> dict[str, Tensor]:
    tensors = {}
    for name in attached.layers:
        layer = adapted_layer(backbone, name)
        A, B = (parameter.detach() for parameter in factors(layer))
        if attached.method.spec.residual:
            A, B = to_plain_lora(A, B, *(initial.to(A.device) for initial in attached.initial[name]))
        tensors[f"{name}.lora_A.weight"] = A
        tensors[f"{name}.lora_B.weight"] = B
        bias = layer.get_base_layer().bias
        if attached.method.trains_biases and bias is not None:
            tensors[f"{name}.base_layer.bias"] = bias.detach()
    return {f"base_model.model.{key}": tensor.cpu().contiguous() for key, tensor in tensors.items()}


def _read(folder: Path) -> tuple[LoraConfig, dict[str, Tensor], str]:
    for name in (CONFIG, TENSORS, PROVENANCE):
        if not (folder / name).is_file():
            raise AdapterError(
                f"no adapter saved by minorkey in '{folder}': {name} is missing; give a run's adapter folder"
            )
    try:
        base_weights_sha256 = json.loads((folder / PROVENANCE).read_text())["base_weights_sha256"]
        config = LoraConfig.from_pretrained(str(folder))
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StorageError(f"cannot read the adapter in '{folder}': {error!r}; save or copy it again") from error
    return config, tensors, base_weights_sha256
