"""A compiled network gives what the plain one gives, from one graph, under the same names."""

from pathlib import Path

import pytest
import torch
from torch import nn

from minorkey.adapters import attach
from minorkey.config import RunConfig, resolve
from minorkey.errors import ConfigError, ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.compiling import compile_network
from minorkey.models.heads.segmentation.masks import MASK_MODELS
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.system.precision import computing
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.device import accelerator_for
from minorkey.training.parallel import prepare_network


def adapted(config: RunConfig) -> nn.Module:
    backbone = load_backbone(config.backbone).network
    network = Segmentation().build(backbone, config.head, 7, seed=0)
    attach(backbone, config.method)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(0))
    return network


def step(network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output and the gradients of a step."""
    network.zero_grad()
    torch.manual_seed(0)  # of the points at which masks are compared
    masks = torch.zeros(1, *images.shape[-2:])
    masks[..., 8:] = 1
    targets = {"mask_labels": [masks] * len(images), "class_labels": [torch.tensor([3])] * len(images)}
    by_masks = isinstance(network, MASK_MODELS)
    output = network(pixel_values=images, **targets if by_masks else {})
    logits = output.masks_queries_logits if by_masks else output.logits
    (output.loss if by_masks else logits.square().mean()).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **gradients}


def largest_difference(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert actual.keys() == expected.keys()
    return max(float((actual[name] - expected[name]).abs().max()) for name in expected)


@pytest.mark.parametrize(
    "head",
    [
        {"name": "semfpn"},
        pytest.param({"name": "mask2former", "channels": 32, "queries": 5}, marks=pytest.mark.thorough),
    ],
)
def test_a_compiled_step_is_the_plain_one(make_config, head):
    layers = {"encoder_layers": 1, "decoder_layers": 1} if head["name"] == "mask2former" else {}
    network, graphs = adapted(make_config(head=head | layers)).train(), []
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected, names = step(network, images), [*network.state_dict()]

    def kept(graph, _inputs):
        graphs.append(graph)
        return graph

    compile_network(SEGMENTATION_HEADS.resolve(head["name"]).compiled(network), kept)
    assert [*network.state_dict()] == names
    assert largest_difference(step(network, images), expected) < 1e-6
    factor = next(p for name, p in network.named_parameters() if "lora_B" in name)
    own, factor.data = factor.data, torch.zeros_like(factor)  # as a teacher that lends its memory
    assert largest_difference(step(network, images), expected) > 1e-4
    factor.data = own
    assert largest_difference(step(network, images), expected) < 1e-6
    assert len(graphs) == 1
    with torch.no_grad(), computing(network, "fp32"):
        network(pixel_values=images[..., :16])
    assert len(graphs) == 1, "judging, on images of all sizes, is not compiled"


def test_training_compiles_what_it_prepares(make_config):
    config = make_config()
    network = adapted(config)
    accelerator, task = accelerator_for(config.training), Segmentation()
    compiled = task.heads.resolve(config.head.name).compiled
    prepare_network(accelerator, task, network, (32, 32), sharded=False, compiled=compiled)
    assert "compile_network" in network.forward.__qualname__


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_is_no_single_graph_says_so_in_a_line():
    network = Branching()
    compile_network(network, "eager")
    with pytest.raises(
        ModelError, match="Branching cannot be compiled as one graph.*set training.compile to false"
    ) as e:
        network(torch.ones(2))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"method": "dora"}, "method dora"),
        ({"head": "upernet"}, "head upernet"),
        ({"head": "eomt"}, "head eomt"),
        ({"task": "detection"}, "head rt_detr_v2"),
        ({"regime": "self_training", "target": "world:night"}, "regime self_training"),
        ({"training": {"shard": True}}, "training.shard"),
        ({"training": {"gradient_checkpointing": True}}, "training.gradient_checkpointing"),
    ],
)
def test_what_does_not_compile_is_refused(tmp_path: Path, changes, what):
    training = {"compile": True, **changes.get("training", {})}
    with pytest.raises(ConfigError, match=f"training.compile does not go with {what}"):
        resolve(None, {"source": "world:clear", **changes, "training": training})
