"""A fingerprint of weights, to tell an adapter's base from any other."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
"""DINOv2's layers as transformers 5.17 and 5.23 call them: the same weights, so the same fingerprint."""


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 (hex) over names, types, shapes and values of a module's state dict, in the order of names.

    An adapter belongs to the weights as they were before it was attached: take the fingerprint then.
    """
    return tensors_sha256({_newest(name): tensor for name, tensor in module.state_dict().items()})


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over names, types, shapes and values, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {values.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _newest(name: str) -> str:
    layer, _, parameter = name.rpartition(".")
    old = next((old for old in RENAMED if layer.endswith(f".{old}")), None)
    return name if old is None else f"{layer.removesuffix(old)}{RENAMED[old]}.{parameter}"
