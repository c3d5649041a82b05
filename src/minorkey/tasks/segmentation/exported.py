"""A segmentation model as others load it, and how its outputs become label maps."""

from transformers import Mask2FormerForUniversalSegmentation, PreTrainedModel

from minorkey.models.heads.segmentation.eomt import EOMT_MODELS
from minorkey.tasks.exported import Exported

PIXELS_NOTE = (
    "Label maps: `processor.post_process_semantic_segmentation(outputs, [(height, width)])`. "
    "The model sees an image as it is and whole."
)
EOMT_NOTE = (
    'The model takes images of {side} x {side} pixels. `inputs = processor(image, return_tensors="pt")` brings the '
    "short side of an image to {side} and cuts it along the long one; of `outputs = model(**inputs)`, "
    "`processor.post_process_semantic_segmentation(outputs, [(height, width)])` is the label map. "
    "How the images were cut for the scores below is written under them."
)
MASKS_NOTE = (
    "Label maps: `label_maps` above. `post_process_semantic_segmentation` of the processor gives coarser ones, as it "
    "brings all masks to 384 x 384 pixels in between."
)
MASKS_CODE = '''
import torch


def label_maps(outputs, size):
    """Class of each pixel, (B, height, width), from the outputs for a batch of images of that size."""
    classes = outputs.class_queries_logits.softmax(-1)[..., :-1]
    masks = torch.nn.functional.interpolate(outputs.masks_queries_logits, size=size, mode="bilinear").sigmoid()
    return torch.einsum("bqk,bqhw->bkhw", classes, masks).argmax(1)
'''


def exported(model: PreTrainedModel) -> Exported:
    """What is to be known of a model of logits per pixel, or of masks.

    An EoMT's images are resized and cut, as its authors do; those of others are taken at their own size.
    """
    if isinstance(model, EOMT_MODELS):
        side = model.config.image_size
        size = {"shortest_edge": side, "longest_edge": None}
        cut = {"do_resize": True, "size": size, "do_split_image": True}
        return _model("Universal", {"image_processor_type": "EomtImageProcessor"} | cut, EOMT_NOTE.format(side=side))
    settings = {"image_processor_type": "Mask2FormerImageProcessor", "do_reduce_labels": False}
    if isinstance(model, Mask2FormerForUniversalSegmentation):
        return _model("Universal", settings, MASKS_NOTE, MASKS_CODE)
    # It also turns logits into label maps.
    return _model("Semantic", settings | {"image_processor_type": "SegformerImageProcessor"}, PIXELS_NOTE)


def _model(purpose: str, processor: dict[str, object], note: str, code: str = "") -> Exported:
    auto_class = f"AutoModelFor{purpose}Segmentation"
    name, pipeline, tag = "A semantic segmentation model", "image-segmentation", "semantic-segmentation"
    return Exported(name, auto_class, pipeline, tag, processor, note, code)
