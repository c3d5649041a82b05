"""Which precision a device trains and judges in, and that a network computes in the one it is asked for."""

import json

import pytest
import torch
from torch import nn

from minorkey.config import load_config
from minorkey.errors import ConfigError
from minorkey.evaluation.scores import ScoreTable
from minorkey.runs.evaluate import evaluate
from minorkey.runs.load import load
from minorkey.system.precision import Units, computing, evaluation_precision, kernels, training_precision, units_of
from minorkey.system.sealed import read_sealed
from minorkey.tasks.protocol import Protocol

CPU, H100 = Units("cpu"), Units("cuda", bf16=True, tf32=True)
T4, MI250 = Units("cuda"), Units("cuda", bf16=True)
M2, OLD_MAC = Units("mps", bf16=True), Units("mps")
ARC, OLD_XPU = Units("xpu", bf16=True), Units("xpu")


@pytest.mark.parametrize(
    ("units", "training", "judging"),
    [
        (CPU, "fp32", "fp32"),
        (H100, "bf16", "tf32"),
        (T4, "fp16", "fp32"),
        (MI250, "bf16", "fp32"),
        (M2, "bf16", "fp32"),
        (OLD_MAC, "fp32", "fp32"),
        (ARC, "bf16", "fp32"),
        (OLD_XPU, "fp32", "fp32"),
    ],
)
def test_precision_follows_the_device(units, training, judging):
    assert training_precision("auto", units) == training
    assert evaluation_precision("auto", units) == judging
    assert training_precision("fp32", units) == evaluation_precision("fp32", units) == "fp32"
    assert evaluation_precision("bf16", units) == "bf16"
    assert evaluation_precision("tf32", units) == ("tf32" if units.tf32 else "fp32")


@pytest.mark.parametrize(
    ("asked", "units", "message"),
    [
        ("tf32", CPU, "precision is tf32, but there is no GPU"),
        ("tf32", T4, "tf32, which this GPU does not have"),
        ("bf16", OLD_MAC, "bf16, which this GPU does not have"),
    ],
)
def test_a_training_is_refused_what_its_device_lacks(asked, units, message):
    with pytest.raises(ConfigError, match=message):
        training_precision(asked, units)


def test_this_cpu_has_no_tensor_cores():
    assert units_of(torch.device("cpu")) == CPU


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_network_computes_in_what_is_asked_whatever_it_trains_in(precision, expected):
    network = nn.Linear(4, 4)
    trained = network.forward
    network.forward = torch.autocast("cpu", torch.bfloat16)(trained)
    wrapped = network.forward
    with computing(network, precision):
        assert network(torch.ones(1, 4)).dtype == expected
    assert network.forward is wrapped
    assert network(torch.ones(1, 4)).dtype == torch.bfloat16


def test_products_are_rounded_to_tf32_only_where_it_is_asked_for():
    def allowed() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = allowed()
    for precision, expected in {"fp32": False, "tf32": True, "bf16": False}.items():
        with kernels(precision, autotune=expected):
            assert allowed() == (expected, expected)
            assert torch.backends.cudnn.benchmark == expected
    assert allowed() == before
    assert not torch.backends.cudnn.benchmark


def test_attention_is_never_cudnns():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with kernels("bf16"):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_scores_carry_the_precision_they_were_computed_in(finished_run, tmp_path, console):
    config = load_config(finished_run.config)
    options = config.evaluation.model_copy(update={"precision": "bf16"})
    scores = evaluate(
        finished_run.path,
        config=config.model_copy(update={"evaluation": options}),
        out=tmp_path,
        console=console,
    )
    assert scores.protocol.precision == "bf16"
    assert scores.protocol.describe() == evaluated(finished_run).describe().replace(
        "; last", "; computed in bfloat16; last"
    )
    assert scores.protocol.id() != evaluated(finished_run).id()


def evaluated(run) -> Protocol:
    """The protocol of a run that was judged on a CPU, as it was trained."""
    return load(run.path, device="cpu").protocol


def test_the_network_of_a_predictor_computes_in_the_precision_of_its_protocol(finished_run):
    predictor, seen = load(finished_run.path, device="cpu"), []
    linear = next(module for module in predictor.model.modules() if isinstance(module, nn.Linear))
    linear.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    image = torch.zeros(32, 64, 3, dtype=torch.uint8).numpy()
    for precision in ("fp32", "bf16"):
        predictor.protocol = predictor.protocol.model_copy(update={"precision": precision})
        predictor.predict(image)
    assert seen == [torch.float32, torch.bfloat16]


def test_scores_from_before_precisions_were_noted_are_of_float32(finished_run, tmp_path):
    written = read_sealed(finished_run.metrics).values
    assert written["protocol"].pop("precision") == "fp32"
    (tmp_path / "metrics.json").write_text(json.dumps(written))
    assert ScoreTable.read(tmp_path / "metrics.json").protocol == evaluated(finished_run)
