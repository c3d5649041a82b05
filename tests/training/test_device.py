import pytest
import torch
from accelerate.state import AcceleratorState

from minorkey.errors import ConfigError
from minorkey.training.device import accelerator_for, device_for
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


def test_every_call_has_the_device_that_it_asks_for(monkeypatch):
    """A GPU that comes and goes: what a process first asked for was what it had for good."""
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr("accelerate.state.PartialState.default_device", torch.device("meta"))
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    try:
        for device, expected in (("cpu", "cpu"), ("auto", "meta"), ("cpu", "cpu"), ("auto", "meta")):
            assert device_for(TrainingOptions(device=device)).type == expected
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_trainings_of_different_precision_follow_one_another(monkeypatch):
    for precision in ("fp32", "bf16", "bf16", "fp32"):
        monkeypatch.setattr("minorkey.training.device.precision_for", lambda options, precision=precision: precision)
        found = accelerator_for(TrainingOptions(device="cpu")).mixed_precision
        assert found == ("no" if precision == "fp32" else precision)
    AcceleratorState._reset_state()
