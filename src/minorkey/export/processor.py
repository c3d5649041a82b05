"""The image processor beside a model, and how its outputs become the classes of pixels, or boxes."""

from typing import Any

from transformers import DeformableDetrForObjectDetection, Mask2FormerForUniversalSegmentation, PreTrainedModel

from minorkey.models.heads.detection.atss.detector import AtssForObjectDetection
from minorkey.models.heads.detection.detr import DETECTORS
from minorkey.models.heads.segmentation.eomt import EOMT_MODELS
from minorkey.tasks.detection.task import UNIT
from minorkey.tasks.predictor import Predictor

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
BOXES_NOTE = (
    f"Boxes: `detect` above. The model takes images with sides that are multiples of {UNIT}, which `detect` fills up "
    "with zeros; boxes are shares of the filled image. Scores are of every box and class apart, {overlaps}. "
    "Whether images were resized for the scores below is written under them."
)
KEPT = "with no suppression of overlapping boxes"
SUPPRESSED = "and 0 where a surer box of the class overlaps this one"
BOXES_CODE = f'''
import torch


def detect(image, threshold=0.3):
    """Scores, labels and boxes (x0 y0 x1 y1 in pixels) of the objects in an image."""
    pixels = processor(image, return_tensors="pt").pixel_values
    height, width = (-(-side // {UNIT}) * {UNIT} for side in pixels.shape[-2:])
    filled = torch.nn.functional.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))
    with torch.no_grad():
        outputs = model(filled)
    return processor.post_process_object_detection(outputs, threshold, [(height, width)])[0]
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
    if isinstance(model, DETECTORS):
        del settings["do_reduce_labels"]
        family = "DeformableDetr" if isinstance(model, DeformableDetrForObjectDetection) else "RTDetr"
        return settings | {"image_processor_type": f"{family}ImageProcessor", "do_pad": False}
    if isinstance(model, Mask2FormerForUniversalSegmentation):
        return settings | {"image_processor_type": "Mask2FormerImageProcessor"}
    if isinstance(model, EOMT_MODELS):
        del settings["do_reduce_labels"]
        size = {"shortest_edge": model.config.image_size, "longest_edge": None}
        cut = {"do_resize": True, "size": size, "do_split_image": True}
        return settings | {"image_processor_type": "EomtImageProcessor"} | cut
    return settings


def reading_code(model: PreTrainedModel) -> tuple[str, str]:
    """Python that the card adds for reading the outputs, none where the processor does it; and the note on it."""
    if isinstance(model, EOMT_MODELS):
        return "", EOMT_NOTE.format(side=model.config.image_size)
    if isinstance(model, Mask2FormerForUniversalSegmentation):
        return MASKS_CODE, MASKS_NOTE
    if isinstance(model, DETECTORS):
        overlaps = SUPPRESSED if isinstance(model, AtssForObjectDetection) else KEPT
        return BOXES_CODE, BOXES_NOTE.format(overlaps=overlaps)
    return "", PIXELS_NOTE
