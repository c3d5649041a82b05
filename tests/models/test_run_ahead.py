"""Models without the waits of transformers compute what they did."""

import copy

import pytest
import torch

from minorkey.models.backbone import load_backbone
from minorkey.models.heads import run_ahead
from minorkey.models.heads.detection import d_fine, deformable_detr, rt_detr_v2
from minorkey.models.heads.detection.detr import box_targets
from minorkey.models.heads.segmentation import mask2former
from minorkey.models.heads.segmentation.masks import mask_targets
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.segmentation.task import Segmentation

NAMES = pytest.mark.parametrize("name", ["mask2former", "rt_detr_v2", "d_fine", "deformable_detr"])
SIZE = (64, 96)


@pytest.fixture
def make(backbone_folder):
    def build(name):
        settings = {"channels": 32, "queries": 6, "encoder_layers": 2, "decoder_layers": 2}
        backbone = load_backbone(BackboneOptions(name=str(backbone_folder))).network
        options = HeadOptions(name=name, points=50, **settings)
        builder = Segmentation().build if name == "mask2former" else Detection().build
        return builder(backbone, options, 3, seed=0).train()

    return build


def labels_of(name):
    if name == "mask2former":
        labels = torch.randint(0, 3, (2, *SIZE), generator=torch.Generator().manual_seed(2))
        return dict(zip(("mask_labels", "class_labels"), mask_targets(labels, 3), strict=True))
    boxes = [torch.tensor([[8.0, 4, 40, 60], [50, 10, 90, 30]]), torch.zeros(0, 4)]
    return {"labels": box_targets(boxes, [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64)], SIZE)}


def gradients(model, name):
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(3)  # of dropout, points and denoised queries
    model(pixel_values=images, **labels_of(name)).loss.backward()
    return {key: p.grad for key, p in model.named_parameters() if p.grad is not None}


@NAMES
def test_losses_and_gradients_are_the_same(make, name, monkeypatch):
    ours = gradients(make(name), name)
    for module in (mask2former, rt_detr_v2, d_fine, deformable_detr):
        monkeypatch.setattr(module, "let_run_ahead", lambda model: None)
    theirs = gradients(make(name), name)
    assert ours.keys() == theirs.keys()
    assert not [key for key, value in ours.items() if not torch.equal(value, theirs[key])]


@NAMES
def test_modes_are_as_before_and_a_copy_has_its_own(make, name):
    model = make(name)
    copied = copy.deepcopy(model).eval()
    gradients(model, name)
    assert all(module.training for module in model.modules())
    gradients(copied, name)
    assert not any(module.training for module in copied.modules())
    assert all(module.training for module in model.modules())


def test_layers_that_look_at_their_values_are_found(make):
    for name in ("mask2former", "rt_detr_v2", "d_fine", "deformable_detr"):
        guarded = [module for module in make(name).modules() if isinstance(module, run_ahead.GUARDED)]
        assert len(guarded) == 2, name
