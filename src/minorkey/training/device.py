"""Where a run computes and how precisely."""

import torch
from accelerate import Accelerator, PartialState

from minorkey.errors import ConfigError
from minorkey.training.options import TrainingOptions


def device_for(options: TrainingOptions) -> torch.device:
    """The device of this process. The first call connects those that a launcher (torchrun) started together."""
    return PartialState(cpu=options.device == "cpu").device


def accelerator_for(options: TrainingOptions) -> Accelerator:
    """The accelerator for the options; precision follows the device where it is left open.

    bf16 autocast on a CPU is many times slower than fp32, so a CPU computes in fp32.

    Raises:
        ConfigError: half precision was asked for on a CPU.
    """
    cuda = torch.cuda.is_available() and options.device != "cpu"
    if options.precision in ("bf16", "fp16") and not cuda:
        raise ConfigError(
            f"training.precision is {options.precision}, but there is no GPU to use it on; leave it at auto or fp32"
        )
    wanted = {"auto": "bf16" if cuda and torch.cuda.is_bf16_supported() else "no", "fp32": "no"}
    return Accelerator(cpu=options.device == "cpu", mixed_precision=wanted.get(options.precision, options.precision))
