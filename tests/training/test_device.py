import pytest
import torch

from minorkey.errors import ConfigError
from minorkey.training.device import accelerator_for
from minorkey.training.options import TrainingOptions


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_cpu_computes_in_full_precision(precision):
    accelerator = accelerator_for(TrainingOptions(device="cpu", precision=precision))
    assert accelerator.mixed_precision == "no"
    assert accelerator.device == torch.device("cpu")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_a_cpu_is_refused(precision):
    with pytest.raises(ConfigError, match=f"precision is {precision}, but there is no GPU.*leave it at auto or fp32"):
        accelerator_for(TrainingOptions(device="cpu", precision=precision))
