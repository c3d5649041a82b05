"""Everything folded in, as a folder of transformers: the whole model, and its backbone alone in `backbone/`."""

from pathlib import Path

from transformers import PreTrainedConfig

from minorkey.export.backbone_only import FOLDER, write_backbone
from minorkey.export.card import Card
from minorkey.export.code import write_code
from minorkey.export.portable import portable
from minorkey.export.processor import preprocessor
from minorkey.export.trained import Trained
from minorkey.models.quiet import quiet_libraries
from minorkey.system.storage import write_json

CODE = """\
from transformers import AutoImageProcessor, {auto_class}

model = {auto_class}.from_pretrained(folder{trust}).eval()
processor = AutoImageProcessor.from_pretrained(folder)  # processor(image, return_tensors="pt")
"""
UPRIGHT = """\
# An image as the run sees it, upright and RGB: image = PIL.ImageOps.exif_transpose(PIL.Image.open(file)).convert("RGB")
"""
AS_IT_LIES = """\
# Of an image (H, W, channels), as in its file: processor(image, return_tensors="pt", input_data_format="channels_last")
"""
BROUGHT = """\
# The processor normalises and does no more, for it can resize nothing but bytes: bring its `pixel_values` to size.
import torch


def sized(pixel_values):
    return torch.nn.functional.interpolate(pixel_values, size={size}, mode="bilinear", antialias=True)


"""
WHAT = "{kind} with everything it has learnt folded into its weights"
WITH_BACKBONE = "; `backbone/` is its backbone alone, with the modules and names of the pretrained one."
STOCK = "Every class is one of transformers."
OWN_CODE = (
    "The head, or what makes feature maps for it, is no class of transformers; its code lies in this "
    "folder, which is what `trust_remote_code=True` allows to run. minorkey itself is not needed."
)


def write_model(trained: Trained, folder: Path) -> Card:
    """Write the folded model into `folder`, and the backbone alone, as its own library has it, below it."""
    exported = trained.task.exported(trained.predictor.model)
    images = preprocessor(trained.predictor, exported)
    backbone_code = write_backbone(trained, folder)
    if backbone_code:
        write_json(folder / FOLDER / "preprocessor_config.json", images)
    model, stock = portable(trained.predictor.model, trained.head)
    _name_classes(model.config, trained.predictor.space.classes)
    if not stock:
        model.config.auto_map = write_code(model, exported.auto_class, folder)
    with quiet_libraries():
        model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", images)
    code = CODE.format(auto_class=exported.auto_class, trust="" if stock else ", trust_remote_code=True")
    code += AS_IT_LIES if trained.predictor.pixels.stated else UPRIGHT
    if (size := trained.predictor.protocol.input_size) and not images["do_resize"]:
        code += BROUGHT.format(size=size)
    return Card(
        what=WHAT.format(kind=exported.name) + (WITH_BACKBONE if backbone_code else "."),
        code=code + exported.code + backbone_code,
        library="transformers",
        task=exported.pipeline,
        relation="finetune",
        notes=[STOCK if stock else OWN_CODE, exported.note],
    )


def _name_classes(config: PreTrainedConfig, classes: tuple[str, ...]) -> None:
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: index for index, name in enumerate(classes)}
