"""Where a run computes and how precisely."""

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState

from minorkey.errors import ConfigError
from minorkey.system.precision import HALF, Precision, training_precision, units_of
from minorkey.system.reduction import process_count
from minorkey.training.options import TrainingOptions


def device_for(options: TrainingOptions) -> torch.device:
    """The device of this process, connected to those that were started with it.

    By itself, a process may use another one in every call, which accelerate keeps for good.

    Raises:
        ConfigError: several processes were started, and accelerate does not connect them on this device.
    """
    on_cpu = _on_cpu(options)
    state = PartialState(cpu=on_cpu)
    if state.num_processes != process_count():
        raise ConfigError(f"several processes cannot train one run on {state.device}; set training.device=cpu")
    if state.num_processes > 1:
        return state.device
    if on_cpu:
        return torch.device("cpu")
    return state.default_device if state._cpu else state.device  # the first call asked for the CPU


def connect(options: TrainingOptions) -> None:
    """Connect the processes that a launcher (torchrun) started together, before one of them does anything for all.

    Raises:
        ConfigError: as `device_for`.
    """
    device_for(options)


def precision_for(options: TrainingOptions) -> Precision:
    """The precision of a training on the device of this process.

    Raises:
        ConfigError: the device cannot train in what was asked for.
    """
    return training_precision(options.precision, units_of(device_for(options)))


def accelerator_for(options: TrainingOptions) -> Accelerator:
    """The accelerator for the options: autocast in half precision, with a gradient scaler for fp16.

    Raises:
        ConfigError: the device cannot train in the precision asked for.
    """
    precision = precision_for(options)
    wanted = {"_cpu": _on_cpu(options), "_mixed_precision": precision if precision in HALF else "no"}
    kept = PartialState._shared_state | AcceleratorState._shared_state
    if any(kept.get(name, value) != value for name, value in wanted.items()) and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)  # of an earlier training, on or in another one
    return Accelerator(cpu=wanted["_cpu"], mixed_precision=wanted["_mixed_precision"])


def _on_cpu(options: TrainingOptions) -> bool:
    """Whether that is meant; where there is nothing else, accelerate connects processes only if it is told so."""
    return options.device == "cpu" or not torch.accelerator.is_available()
