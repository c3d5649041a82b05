"""A pretrained RGB network for other channels: its first kernel summed for fewer, widened for more.

Kernels of red, green and blue go to the channels of these names; those that none has go to the first others, in order.
A network of one or two channels has their sum, shared out, so that equal channels give what grey gives. Every further
channel starts at 0: the network computes at first what it was pretrained to, as with an adapter, and learns from there
what the new channels are good for. That is why the first layer trains then, whatever the method.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from minorkey.data.pixels import RGB
from minorkey.errors import ModelError


def fitted_kernel(kernel: Tensor, names: Sequence[str]) -> Tensor:
    """A kernel `(out, 3, h, w)` of red, green and blue for channels of these names, `(out, C, h, w)`."""
    count = len(names)
    if count < len(RGB):
        return kernel.sum(dim=1, keepdim=True).expand(-1, count, -1, -1).contiguous() / count
    fitted = kernel.new_zeros(len(kernel), count, *kernel.shape[2:])
    for colour, place in enumerate(kernel_places(names)):
        fitted[:, place] = kernel[:, colour]
    return fitted


def kernel_places(names: Sequence[str]) -> list[int]:
    """The channels, three or more, that the kernels of red, green and blue go to.

    >>> kernel_places(["blue", "green", "red", "nir"]), kernel_places(["nir", "red", "green"])
    ([2, 1, 0], [1, 2, 0])
    """
    others = iter(place for place, name in enumerate(names) if name not in RGB)
    return [list(names).index(colour) if colour in names else next(others) for colour in RGB]


def new_channels(names: Sequence[str]) -> list[str]:
    """The channels whose kernels start at 0."""
    old = set(kernel_places(names)) if len(names) >= len(RGB) else range(len(names))
    return [name for place, name in enumerate(names) if place not in old]


def with_channels(network: PreTrainedModel, names: Sequence[str]) -> PreTrainedModel:
    """A pretrained RGB network for other channels, an ordinary one of its class.

    Raises:
        ModelError: it does not say how many channels it takes, or its first layer is not found.
    """
    wider = type(network)(_for_channels(network.config, len(names)))
    wanted, state = wider.state_dict(), network.state_dict()
    changed = [name for name, value in state.items() if value.shape != wanted[name].shape]
    if len(names) == len(RGB):
        changed = [f"{first_layer(network, len(RGB))}.weight"]
    if len(changed) != 1 or state[changed[0]].ndim != 4:
        raise ModelError(f"a {network.config.model_type} backbone has no one layer that reads the image; take another")
    state[changed[0]] = fitted_kernel(state[changed[0]], names)
    wider.load_state_dict(state)
    return wider


def _for_channels(config: PreTrainedConfig, count: int) -> PreTrainedConfig:
    values = config.to_dict()
    if "num_channels" in values:
        values["num_channels"] = count
    elif "settings" in values:  # of timm
        values["settings"] = {**(values["settings"] or {}), "in_chans": count}
    else:
        raise ModelError(f"a {config.model_type} backbone takes RGB alone; take one whose config has num_channels")
    return type(config).from_dict(values)


def first_layer(network: nn.Module, count: int) -> str:
    """The name of the convolution that reads the image, of so many channels.

    Raises:
        ModelError: there is none.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels == count and module.groups == 1:
                return name
            break
    raise ModelError(f"the first layer of the {type(network).__name__} does not take {count} channels")


def channels_of(network: nn.Module) -> int:
    """How many channels a backbone takes; 3 where its first layer is no convolution."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return len(RGB) if first is None else first.in_channels


def trained_anyway(network: nn.Module, names: Sequence[str] | None) -> tuple[str, ...]:
    """The parameters of a backbone that train whatever the method: its first kernel, where it has new channels."""
    if names is None or not new_channels(names):
        return ()
    return (f"{first_layer(network, len(names))}.weight",)


def own_statistics(values: Sequence[float], names: Sequence[str]) -> tuple[float, ...]:
    """What a pretrained network has for red, green and blue, for other channels: of these names, else their mean."""
    mean = sum(values) / len(values)
    return tuple(values[RGB.index(name)] if name in RGB else mean for name in names)
