"""Mask2Former (arXiv 2112.01527): transformers' own, on the pyramid, with the settings of SoMA's recipes."""

from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from minorkey.errors import ModelError
from minorkey.models.heads.run_ahead import let_run_ahead
from minorkey.models.heads.segmentation.masks import set_criterion
from minorkey.models.options import HeadOptions
from minorkey.models.pyramid import PyramidConfig
from minorkey.models.quiet import quiet_libraries

GROUPS = 32
"""The pixel decoder's group norms divide its channels by this."""

QUERIES, ENCODER_LAYERS, DECODER_LAYERS = 100, 6, 9
"""As in SoMA's recipes, unless told otherwise."""


def build_mask2former(
    backbone: PyramidConfig, num_labels: int, channels: int, options: HeadOptions
) -> Mask2FormerForUniversalSegmentation:
    """A Mask2Former with random weights around a pyramid.

    Loss weights are the paper's, which are the defaults of transformers: class 2, mask 5, dice 5, no object 0.1.
    transformers counts the prediction before the first layer as a layer of the decoder: 9 layers are its 10.

    Raises:
        ModelError: the width does not divide into groups, or the pyramid has other than 4 levels.
    """
    if channels % GROUPS:
        raise ModelError(f"head.channels is {channels}; mask2former takes a multiple of {GROUPS}, as a rule 256")
    if len(backbone.stage_names) != len(Mask2FormerConfig().feature_strides):
        raise ModelError(
            f"mask2former reads 4 feature maps, the backbone gives {len(backbone.stage_names)}; "
            "set backbone.out_blocks to 4 blocks"
        )
    with quiet_libraries():  # it warns of every backbone but Swin
        config = Mask2FormerConfig(
            backbone_config=backbone,
            num_labels=num_labels,
            hidden_dim=channels,
            feature_size=channels,
            mask_feature_size=channels,
            encoder_feedforward_dim=4 * channels,
            dim_feedforward=8 * channels,
            encoder_layers=options.encoder_layers or ENCODER_LAYERS,
            decoder_layers=(options.decoder_layers or DECODER_LAYERS) + 1,
            num_queries=options.queries or QUERIES,
            train_num_points=options.points,
        )
        model = Mask2FormerForUniversalSegmentation(config)
    set_criterion(model)
    let_run_ahead(model)
    return model
