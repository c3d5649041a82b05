import pytest
from torch import nn

from minorkey.adapters import MethodOptions, attach
from minorkey.models.backbone import load_backbone
from minorkey.models.build import backbone_of, build_segmenter
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.training.batch_norm import GlobalBatchNorm2d, globalise
from minorkey.training.parallel import parameters_without_gradient, trial_loss


@pytest.mark.parametrize(
    ("method", "out_blocks", "idle"),
    [
        ("full", None, {"mask_token", "layernorm"}),
        ("soma", None, set()),
        ("lora", [1, 2], {"layer.2", "layer.3"}),
    ],
)
def test_parameters_that_a_loss_does_not_reach_are_those_without_a_gradient(backbone_folder, method, out_blocks, idle):
    options = BackboneOptions(name=str(backbone_folder), out_blocks=out_blocks)
    head = HeadOptions(name="linear" if out_blocks else "semfpn", channels=8)
    model = build_segmenter(load_backbone(options).network, head, 3, seed=0)
    attach(backbone_of(model), MethodOptions(name=method))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    loss = trial_loss(model, (32, 32), "cpu")
    found = parameters_without_gradient(model, loss)
    assert all(buffer.equal(before[name]) for name, buffer in model.named_buffers())
    loss.backward()
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert bool(found) == bool(idle)
    assert all(any(part in name for part in idle) for name in found)


def test_batch_norms_keep_their_names_and_tensors():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
    before = network.state_dict(keep_vars=True)
    globalise(network)
    assert isinstance(network[1], GlobalBatchNorm2d)
    after = network.state_dict(keep_vars=True)
    assert after.keys() == before.keys()
    assert all(after[name] is value for name, value in before.items())
