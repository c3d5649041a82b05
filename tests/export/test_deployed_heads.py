"""Every head as ONNX: onnxruntime computes what torch does, for other batches than it was traced with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from minorkey.errors import ModelError
from minorkey.export.graph import as_onnx, traced
from minorkey.export.onnx_file import TOLERANCE, halved
from minorkey.models.backbone import load_backbone
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.models.sampling import gathered_sample
from minorkey.tasks.deployed import Deployed, Outputs
from minorkey.tasks.protocol import Protocol
from minorkey.tasks.table import TASKS, task_named

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {"channels": 32, "queries": 10, "encoder_layers": 1, "decoder_layers": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "linear": {},
    "semfpn": {"channels": 8},
    "segformer": {"channels": 8},
    "upernet": {"channels": 8},
    "eomt": {"queries": 10},
    "pooled": {},
    "atss": {"channels": 32, "queries": 20},
}
SIZES = {"eomt": (64, 64), "pooled": (32, 32)}
ANY_SIZE = {"linear", "semfpn", "segformer"}
QUICK = {"pooled"}
"""Others take up to half a minute each."""
HEADS = [
    pytest.param(task, head, marks=() if head in QUICK else pytest.mark.thorough)
    for task in TASKS.shipped
    for head in task_named(task).heads.shipped
]


def deployed_head(task: str, head: str, backbone: Path) -> Deployed:
    network = load_backbone(BackboneOptions(name=str(backbone))).network
    options = HeadOptions(name=head, **OPTIONS.get(head, SMALL))
    model = task_named(task).build(network, options, 5, 0).eval().requires_grad_(False)
    space = "weather7" if task == "detection" else "cityscapes19"
    return task_named(task).deployed(model, Protocol(label_space=space, metric="miou"), "full")


def as_run(deployed: Deployed, images: Tensor, *, any_size: bool, gathers: bool = False) -> Any:
    program = traced(deployed.network, images, any_size=any_size, gathers=gathers)
    return in_onnxruntime(deployed, as_onnx(program, list(deployed.outputs), 18))


def in_onnxruntime(deployed: Deployed, model: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Outputs:
        given = session.run(list(deployed.outputs), {"images": images.numpy()})
        return dict(zip(deployed.outputs, map(torch.from_numpy, given), strict=True))

    return run, {node.op_type for node in model.graph.node}


def expected(deployed: Deployed, images: Tensor) -> Outputs:
    with torch.no_grad():
        return dict(zip(deployed.outputs, deployed.network(images), strict=True))


@pytest.mark.parametrize(("task", "head"), HEADS)
def test_every_head(task: str, head: str, backbone_folder: Path) -> None:
    deployed = deployed_head(task, head, backbone_folder)
    assert deployed.any_size == (head in ANY_SIZE)
    height, width = SIZES.get(head, (64, 96))
    generator = torch.Generator().manual_seed(0)
    traced_on = torch.zeros(2, 3, *((160, 224) if deployed.any_size else (height, width)))
    run, _ = as_run(deployed, traced_on, any_size=deployed.any_size)
    shapes = [(1, height, width), (3, height, width), *([(2, 35, 65), (1, 120, 50)] if deployed.any_size else [])]
    for count, *size in shapes:
        images = torch.randn(count, 3, *size, generator=generator)
        assert deployed.difference(expected(deployed, images), run(images)) <= 1e-4


@pytest.mark.parametrize(("task", "head"), HEADS)
def test_every_head_in_float16_and_as_a_graph_of_torch(
    task: str, head: str, backbone_folder: Path, tmp_path: Path
) -> None:
    deployed, size = deployed_head(task, head, backbone_folder), SIZES.get(head, (64, 96))
    program = traced(deployed.network, torch.zeros(2, 3, *size), any_size=False, gathers=False)
    onnx.save(as_onnx(program, list(deployed.outputs), 18), str(tmp_path / "model.onnx"))
    run, operators = in_onnxruntime(deployed, halved(tmp_path / "model.onnx"))
    assert "Cast" in operators
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    wanted = expected(deployed, images)
    most = 0.5 if task == "detection" else TOLERANCE["fp16"]  # of random weights scores are next to equal, and swap
    assert 0 < deployed.difference(wanted, run(images)) <= most
    with torch.no_grad():
        given = dict(zip(deployed.outputs, program.module()(images), strict=True))
    assert deployed.difference(wanted, given) <= TOLERANCE["fp32"]


def test_a_difference_is_seen(backbone_folder: Path) -> None:
    for task, head in (("segmentation", "linear"), ("detection", "rt_detr_v2")):
        deployed = deployed_head(task, head, backbone_folder)
        wanted = expected(deployed, torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
        name = "boxes" if "boxes" in wanted else "scores"
        moved = {**wanted, name: wanted[name] + 0.01 * wanted[name].abs().max()}
        assert deployed.difference(wanted, wanted) == 0
        assert deployed.difference(wanted, moved) > 1e-3


def test_sampling_as_gathers_is_sampling() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 5, 7, generator=generator)
    points = torch.rand(2, 4, 6, 2, generator=generator) * 2.6 - 1.3  # some outside
    points[0, 0, 0] = torch.tensor([-1.0, 1.0])  # the edge itself
    wanted = grid_sample(maps, points, mode="bilinear", padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(gathered_sample(maps, points, align_corners=False), wanted)
    with pytest.raises(ModelError, match="nearest"):
        gathered_sample(maps, points, mode="nearest")


@pytest.mark.thorough
def test_a_graph_without_grid_sample(backbone_folder: Path) -> None:
    deployed = deployed_head("detection", "deformable_detr", backbone_folder)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    run, operators = as_run(deployed, images, any_size=False, gathers=True)
    assert "GridSample" not in operators
    assert deployed.difference(expected(deployed, images), run(images)) <= 1e-4
    assert torch.nn.functional.grid_sample is grid_sample, "it stands for something else only meanwhile"
