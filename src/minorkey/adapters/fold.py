"""Fold an adapter into the weights: the original network again, with what it has learnt."""

import torch
from peft.tuners.ln_tuning.layer import LNTuningLayer
from torch import nn

from minorkey.adapters.attach import MARK
from minorkey.adapters.peft_layers import ADAPTER, remove, tuner_layers
from minorkey.errors import AdapterError
from minorkey.system.reading import shown


def fold(network: nn.Module) -> None:
    """Merge every adapter into its weight, in place; modules, class and state-dict keys are the original ones.

    Each parameter is in the precision that it had. Trained biases are the layers' own and stay as they are. A network
    in which `full`, `bias` or `frozen` trained has nothing to merge and only loses the mark that it was attached to.

    Args:
        network: what `attach` was called on, or a module around it.

    Raises:
        AdapterError: if there is nothing to fold in.
    """
    if not isinstance(network, nn.Module):
        raise AdapterError(f"got {shown(network)}; expected the torch module that `attach` was called on")
    marked = [module for module in network.modules() if MARK in module.__dict__]
    layers = tuner_layers(network)
    if not marked and not layers:
        raise AdapterError(
            f"{type(network).__name__} carries no adapter; it was folded in already, or attach was not called"
        )
    # Neither rounded by autocast, nor made where no gradient can ever be asked for.
    with torch.inference_mode(False), torch.no_grad():
        for layer in layers.values():
            with torch.autocast(next(layer.parameters()).device.type, enabled=False):
                layer.merge()
            if isinstance(layer, LNTuningLayer):  # the pretrained norm and the one that trained have changed places
                layer.get_base_layer().to(next(layer.ln_tuning_layers[ADAPTER].parameters()).dtype)
        remove(network)
    for module in marked:
        del module.__dict__[MARK]
