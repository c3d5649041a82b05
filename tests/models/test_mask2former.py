import pytest
import torch
from transformers import Dinov2Backbone, Dinov2Config

from minorkey.errors import ModelError
from minorkey.models.backbone import load_backbone
from minorkey.models.heads.segmentation.mask2former import build_mask2former
from minorkey.models.heads.segmentation.masks import MaskCriterion
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.models.pyramid import PyramidConfig
from minorkey.tasks.segmentation.task import Segmentation

STAGES = ["stage1", "stage2", "stage3", "stage4"]


@pytest.fixture
def pyramid():
    config = Dinov2Config(
        hidden_size=8, num_hidden_layers=4, num_attention_heads=2, patch_size=8, image_size=32, out_features=STAGES
    )
    return PyramidConfig(backbone_config=config, strides=[4, 8, 16, 32])


def test_settings_are_the_papers(pyramid):
    with torch.device("meta"):
        model = build_mask2former(pyramid, 19, 256, HeadOptions(name="mask2former"))
    assert len(model.model.transformer_module.decoder.layers) == 9
    assert len(model.model.pixel_level_module.decoder.encoder.layers) == 6
    assert model.config.num_queries == 100
    assert model.model.transformer_module.queries_embedder.weight.shape == (100, 256)
    criterion = model.criterion
    assert isinstance(criterion, MaskCriterion)
    assert criterion.weight_dict == {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    assert (criterion.eos_coef, criterion.num_points) == (0.1, 12544)
    assert (criterion.matcher.cost_class, criterion.matcher.cost_mask, criterion.matcher.cost_dice) == (2, 5, 5)
    assert (model.config.encoder_feedforward_dim, model.config.dim_feedforward) == (1024, 2048)


def test_nine_layers_make_ten_predictions(pyramid):
    options = HeadOptions(name="mask2former", queries=4, points=20, decoder_layers=9, encoder_layers=1)
    model = build_mask2former(pyramid, 3, 32, options).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, 64, 64), output_auxiliary_logits=True)
    assert len(output.auxiliary_logits) == 9  # and the last


def test_width_must_divide_into_groups(pyramid):
    with pytest.raises(ModelError, match="head.channels is 100; mask2former takes a multiple of 32, as a rule 256"):
        build_mask2former(pyramid, 3, 100, HeadOptions(name="mask2former"))


def test_four_feature_maps_are_needed(backbone_folder):
    backbone = load_backbone(BackboneOptions(name=str(backbone_folder), out_blocks=[2, 4])).network
    assert isinstance(backbone, Dinov2Backbone)
    with pytest.raises(ModelError, match="reads 4 feature maps, the backbone gives 2; set backbone.out_blocks to 4"):
        Segmentation().build(backbone, HeadOptions(name="mask2former"), 3, seed=0)
