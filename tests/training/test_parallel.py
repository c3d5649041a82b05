from contextlib import nullcontext

import pytest
import torch
from torch import nn

from minorkey.adapters import MethodOptions, attach
from minorkey.models.backbone import load_backbone
from minorkey.models.batch_norm import GlobalBatchNorm2d, globalise
from minorkey.models.build import backbone_of
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.training.parallel import parameters_without_gradient, trial_loss


@pytest.mark.parametrize(
    ("method", "out_blocks", "idle"),
    [
        ("full", None, {"mask_token", "layernorm"}),
        ("soma", None, set()),
        ("lora", [1, 2], {"layer.2", "layer.3"}),
    ],
)
def test_parameters_that_a_loss_does_not_reach_are_those_without_a_gradient(
    backbone_folder, monkeypatch, method, out_blocks, idle
):
    options = BackboneOptions(name=str(backbone_folder), out_blocks=out_blocks)
    head = HeadOptions(name="linear" if out_blocks else "semfpn", channels=8)
    model = Segmentation().build(load_backbone(options).network, head, 3, seed=0)
    attach(backbone_of(model), MethodOptions(name=method))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    found = parameters_without_gradient(model, trial_loss(Segmentation(), model, (32, 32), "cpu"))
    assert all(buffer.equal(before[name]) for name, buffer in model.named_buffers())
    with monkeypatch.context() as kept:
        kept.setattr(torch.autograd.graph, "saved_tensors_hooks", lambda *_: nullcontext())
        trial_loss(Segmentation(), model, (32, 32), "cpu").backward()
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert bool(found) == bool(idle)
    assert all(any(part in name for part in idle) for name in found)


def test_a_trial_keeps_nothing_for_a_backward_pass(backbone_folder):
    """What a training step keeps, in bytes, is there to be kept, and the trial lets go of all of it."""
    model = Segmentation().build(
        load_backbone(BackboneOptions(name=str(backbone_folder))).network, HeadOptions(), 3, seed=0
    )
    offered = []
    image = torch.zeros(2, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: offered.append(t.nbytes), lambda t: t):
        model(pixel_values=image)
    assert sum(offered) > 10 * image.nbytes
    loss = trial_loss(Segmentation(), model, (32, 32), "cpu")
    with pytest.raises(AssertionError, match="nothing is kept of a trial"):
        loss.backward()


def test_batch_norms_keep_their_names_and_tensors():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    before = network.state_dict(keep_vars=True)
    globalise(network)
    assert isinstance(network[1], GlobalBatchNorm2d)
    after = network.state_dict(keep_vars=True)
    assert after.keys() == before.keys()
    assert all(after[name] is value for name, value in before.items())
