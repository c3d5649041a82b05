"""Where a run computes and how precisely."""

import torch
from accelerate import Accelerator, PartialState

from minorkey.system.precision import HALF, Precision, training_precision, units_of
from minorkey.training.options import TrainingOptions


def device_for(options: TrainingOptions) -> torch.device:
    """The device of this process. The first call connects those that a launcher (torchrun) started together."""
    return PartialState(cpu=options.device == "cpu").device


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
    return Accelerator(cpu=options.device == "cpu", mixed_precision=precision if precision in HALF else "no")
