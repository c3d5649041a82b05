"""The image processor beside a model, and how its outputs become the classes of pixels."""

from typing import Any

from transformers import Mask2FormerForUniversalSegmentation, PreTrainedModel

from minorkey.models.heads.eomt import EOMT_MODELS
from minorkey.predictor import Predictor

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


def preprocessor(predictor: Predictor) -> dict[str, Any]:
    """Settings of a stock image processor: values in 0..1, normalised, and images at their own size.

    An EoMT's images are resized and cut instead, as its authors do.
    """
    model = predictor.model
    settings = {
        "image_processor_type": "SegformerImageProcessor",  # it also turns logits into label maps
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(predictor.mean),
        "image_std": list(predictor.std),
        "do_reduce_labels": False,
    }
    if isinstance(model, Mask2FormerForUniversalSegmentation):
        return settings | {"image_processor_type": "Mask2FormerImageProcessor"}
    if isinstance(model, EOMT_MODELS):
        del settings["do_reduce_labels"]
        size = {"shortest_edge": model.config.image_size, "longest_edge": None}
        cut = {"do_resize": True, "size": size, "do_split_image": True}
        return settings | {"image_processor_type": "EomtImageProcessor"} | cut
    return settings


def label_map_code(model: PreTrainedModel) -> tuple[str, str]:
    """Python that the card adds for reading the outputs, none where the processor does it; and the note on it."""
    if isinstance(model, EOMT_MODELS):
        return "", EOMT_NOTE.format(side=model.config.image_size)
    if isinstance(model, Mask2FormerForUniversalSegmentation):
        return MASKS_CODE, MASKS_NOTE
    return "", PIXELS_NOTE
