"""Everything folded in, as a folder of transformers: the whole model, and its backbone alone in `backbone/`."""

from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel, UperNetForSemanticSegmentation

from minorkey.export.card import Card
from minorkey.export.code import write_code
from minorkey.export.trained import Trained
from minorkey.export.upernet import PyramidUperNetConfig, PyramidUperNetForSemanticSegmentation
from minorkey.models.build import PYRAMID_STRIDES
from minorkey.models.quiet import quiet_libraries
from minorkey.predictor import Predictor
from minorkey.storage import write_json

CODE = """\
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, {kind}

model = AutoModelForSemanticSegmentation.from_pretrained(folder{trust}).eval()
processor = AutoImageProcessor.from_pretrained(folder)  # processor(image, return_tensors="pt")
backbone = {kind}.from_pretrained(folder, subfolder="backbone").eval()  # without the head
"""
STOCK = "Every class is one of transformers."
OWN_CODE = (
    "The head, or the resizing of feature maps before it, is no class of transformers; its code lies in this "
    "folder, which is what `trust_remote_code=True` allows to run. minorkey itself is not needed."
)
UNEVEN = 198, 230  # no multiple of any stride: who rounds sides down shows it here, at every level


def write_model(trained: Trained, folder: Path) -> Card:
    """Write the folded model into `folder`, and the backbone alone, as its own stock class, below it."""
    preprocessor = _preprocessor(trained.predictor)
    _save(trained.backbone, folder / "backbone", preprocessor)
    model, stock = _portable(trained.predictor.model)
    _name_classes(model.config, trained.predictor.space.classes)
    if not stock:
        model.config.auto_map = write_code(type(model), folder)
    _save(model, folder, preprocessor)
    trust = "" if stock else ", trust_remote_code=True"
    return Card(
        what="A semantic segmentation model with everything it has learnt folded into its weights; "
        "`backbone/` is its backbone alone, with the modules and names of the pretrained one.",
        code=CODE.format(kind=type(trained.backbone).__name__, trust=trust),
        library="transformers",
        task="image-segmentation",
        relation="finetune",
        notes=[STOCK if stock else OWN_CODE],
    )


def _save(model: PreTrainedModel, folder: Path, preprocessor: dict) -> None:
    with quiet_libraries():
        model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", preprocessor)


def _portable(model: PreTrainedModel) -> tuple[PreTrainedModel, bool]:
    """The model in the classes that it is saved with, and whether all of them are stock."""
    if not isinstance(model, UperNetForSemanticSegmentation):
        return model, False
    if has_native_pyramid(model.backbone.backbone):
        model.backbone = model.backbone.backbone
        model.config.backbone_config = model.backbone.config
        return model, True
    own = PyramidUperNetForSemanticSegmentation(PyramidUperNetConfig.around(model.config))
    own.load_state_dict(model.state_dict())
    return own, False


@torch.inference_mode()
def has_native_pyramid(backbone: PreTrainedModel) -> bool:
    """Whether a backbone's own maps lie at strides 4, 8, 16, 32 at any input size, with nothing to resize."""
    height, width = UNEVEN
    try:
        maps = backbone(torch.zeros(1, backbone.config.num_channels, height, width)).feature_maps
    except (ValueError, RuntimeError):  # it takes one size only, or multiples of its patch
        return False
    return [m.shape[-2:] for m in maps] == [(-(-height // s), -(-width // s)) for s in PYRAMID_STRIDES]


def _name_classes(config: PreTrainedConfig, classes: tuple[str, ...]) -> None:
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: index for index, name in enumerate(classes)}


def _preprocessor(predictor: Predictor) -> dict:
    """Images at their own size, values in 0..1, normalised. SegFormer's class also turns logits into label maps."""
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(predictor.mean),
        "image_std": list(predictor.std),
        "do_reduce_labels": False,
    }
