"""A fingerprint of a network's weights, to tell an adapter's base from any other."""

import hashlib

import torch
from torch import nn


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 (hex) over names, types, shapes and values of a module's state dict, in the order of names.

    An adapter belongs to the weights as they were before it was attached: take the fingerprint then.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {values.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(values.view(torch.uint8).numpy())
    return digest.hexdigest()
