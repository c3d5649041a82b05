import copy

import pytest
import torch
import torch.distributed as dist
from torch.overrides import TorchFunctionMode

from minorkey.models.backbone import load_backbone
from minorkey.models.build import head_state
from minorkey.models.detectors import DETECTION_HEADS
from minorkey.models.heads.detection.atss import atss_losses, positive_anchors
from minorkey.models.heads.detection.collaborative import drop_auxiliary, feature_maps
from minorkey.models.heads.detection.detr import box_targets
from minorkey.models.heads.set_criterion import total
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.segmentation.task import Segmentation

NAMES = pytest.mark.parametrize("name", [name for name, spec in DETECTION_HEADS.shipped.items() if spec.decoding])
SIZE = (64, 96)
BOXES = [torch.tensor([[8.0, 4, 40, 60], [50, 10, 90, 30]]), torch.zeros(0, 4), torch.tensor([[0.0, 0, 96, 64]])]
LABELS = [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64), torch.tensor([1])]
ATSS = {"atss_class", "atss_box", "atss_centerness"}


class Operations(TorchFunctionMode):
    """Counts the calls of torch functions."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls.append(function)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def make(backbone_folder):
    def build(name, auxiliary="atss", **changes):
        settings = {"channels": 32, "queries": 6, "encoder_layers": 1, "decoder_layers": 2, **changes}
        backbone = load_backbone(BackboneOptions(name=str(backbone_folder))).network
        return Detection().build(backbone, HeadOptions(name=name, auxiliary=auxiliary, **settings), 3, seed=0).eval()

    return build


@pytest.fixture
def images():
    return torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def targets_of(*chosen):
    return box_targets([BOXES[i] for i in chosen], [LABELS[i] for i in chosen], SIZE)


def decoder_inputs(model, images):
    """What the decoder is called with."""
    calls = []
    handle = model.model.decoder.register_forward_pre_hook(lambda _m, _a, named: calls.append(named), with_kwargs=True)
    model(pixel_values=images)
    handle.remove()
    return calls[0]


@NAMES
def test_deployed_model_has_no_trace_of_it(make, images, name):
    with_it, without = make(name), make(name, auxiliary=None)
    assert head_state(with_it).keys() - head_state(without).keys() == {
        f"auxiliary_head.{key}" for key in with_it.auxiliary_head.state_dict()
    }
    drop_auxiliary(with_it)
    assert with_it.state_dict().keys() == without.state_dict().keys()
    assert [type(module) for module in with_it.modules()] == [type(module) for module in without.modules()]
    assert [len(m._forward_pre_hooks) for m in with_it.modules()] == [
        len(m._forward_pre_hooks) for m in without.modules()
    ]
    calls, outputs = [], []
    for model in (with_it, without):
        with torch.no_grad():
            model(pixel_values=images)  # the first pass makes anchors, which transformers keeps
            with Operations() as operations:
                outputs.append(model(pixel_values=images))
        calls.append(operations.calls)
    assert calls[0] == calls[1]
    assert len(calls[0]) > 100
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert torch.equal(outputs[0].pred_boxes, outputs[1].pred_boxes)


@NAMES
def test_predictions_are_the_same_with_it(make, images, name):
    with torch.no_grad():
        one, other = (make(name, auxiliary)(pixel_values=images) for auxiliary in ("atss", None))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.pred_boxes, other.pred_boxes)


@NAMES
@torch.no_grad()
def test_losses_of_the_head_are_added(make, images, name):
    model, targets = make(name), targets_of(0, 1, 2)
    output = model(pixel_values=images, labels=targets)
    plain = make(name, auxiliary=None)(pixel_values=images, labels=targets)
    further = {key: value for key, value in output.loss_dict.items() if key not in plain.loss_dict}
    assert further.keys() == {*ATSS, "positives"}
    torch.testing.assert_close(output.loss, plain.loss + total(further))
    seen = decoder_inputs(model, images)
    maps = feature_maps(seen["encoder_hidden_states"], seen["spatial_shapes_list"])
    assert [tuple(level.shape[2:]) for level in maps][:3] == [(8, 12), (4, 6), (2, 3)]
    dense = atss_losses(model.auxiliary_head(maps), BOXES, LABELS, SIZE)
    for term in ATSS:
        torch.testing.assert_close(further[term], 2 * 2 * dense[term])  # lambda 2, two layers


@NAMES
@torch.no_grad()
def test_filling_up_the_queries_of_an_image_has_no_effect(make, images, name):
    """Images have other numbers of positive anchors, and alone they are filled up with fewer."""
    model = make(name)
    together = model(pixel_values=images, labels=targets_of(0, 1, 2)).loss_dict["positives"]
    shapes = decoder_inputs(model, images)["spatial_shapes_list"]
    counts = positive_anchors(BOXES, shapes, SIZE).real.sum(1).tolist()
    assert counts[1] == 0
    assert counts[0] != counts[2] > 0
    alone = [model(pixel_values=images[[i]], labels=targets_of(i)).loss_dict["positives"] for i in (0, 2)]
    if name == "d_fine":  # distillation is a mean over the queries of all images
        assert together > 0
    else:
        weighted = (counts[0] * alone[0] + counts[2] * alone[1]) / sum(counts)
        torch.testing.assert_close(together, weighted)


@NAMES
@torch.no_grad()
def test_images_without_objects_have_no_positive_anchors(make, images, name):
    terms = make(name)(pixel_values=images[:1], labels=targets_of(1)).loss_dict
    assert "positives" not in terms
    assert terms.keys() > ATSS


@NAMES
@torch.no_grad()
def test_processes_without_objects_wait_for_no_other(make, images, name, monkeypatch):
    """Sums over the processes are as many, whatever a process has: each would wait for the others."""
    model, sums = make(name), []

    def exchange(values):
        sums[-1].append(values.shape)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", exchange)
    for chosen in ((0, 1, 2), (1, 1, 1)):
        sums.append([])
        assert torch.isfinite(model(pixel_values=images, labels=targets_of(*chosen)).loss)
    assert sums[0] == sums[1]
    assert len(sums[0]) == 3  # objects, places and centerness of the dense head, its anchors as queries


@NAMES
def test_queries_at_anchors_train_the_decoder(make, images, name):
    model = make(name).train()  # in evaluation D-FINE has classes of its last layer alone
    model(pixel_values=images, labels=targets_of(0, 1, 2)).loss_dict["positives"].backward()
    assert model.model.decoder.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0
    assert model.class_embed[0].weight.grad.abs().sum() > 0


@NAMES
def test_copies_have_a_head_of_their_own(make, images, name):
    model = make(name)
    copied = copy.deepcopy(model)
    drop_auxiliary(copied)
    assert not hasattr(copied, "auxiliary_head")
    assert "positives" not in copied(pixel_values=images, labels=targets_of(0, 1, 2)).loss_dict
    assert "positives" in model(pixel_values=images, labels=targets_of(0, 1, 2)).loss_dict


def test_other_models_keep_their_auxiliary_head(backbone_folder):
    backbone = load_backbone(BackboneOptions(name=str(backbone_folder))).network
    model = Segmentation().build(backbone, HeadOptions(name="upernet", channels=8), 3, seed=0)
    before = list(model.state_dict())
    drop_auxiliary(model)
    assert list(model.state_dict()) == before
