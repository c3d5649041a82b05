"""A detector as others load it, and how its outputs become boxes."""

from transformers import DeformableDetrForObjectDetection, PreTrainedModel

from minorkey.models.heads.detection.atss.detector import AtssForObjectDetection
from minorkey.tasks.detection.padding import UNIT
from minorkey.tasks.exported import Exported

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
    found = processor.post_process_object_detection(outputs, threshold, [(height, width)])[0]
    bottom, right = pixels.shape[-2:]
    boxes = found["boxes"].clamp(min=0).minimum(found["boxes"].new_tensor([right, bottom] * 2))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)  # and not in what was filled up
    return {{name: values[inside] for name, values in (found | {{"boxes": boxes}}).items()}}
'''


def exported(model: PreTrainedModel) -> Exported:
    """What is to be known of a detector."""
    family = "DeformableDetr" if isinstance(model, DeformableDetrForObjectDetection) else "RTDetr"
    overlaps = SUPPRESSED if isinstance(model, AtssForObjectDetection) else KEPT
    return Exported(
        name="An object detection model",
        auto_class="AutoModelForObjectDetection",
        pipeline="object-detection",
        tag="object-detection",
        processor={"image_processor_type": f"{family}ImageProcessor", "do_pad": False},
        note=BOXES_NOTE.format(overlaps=overlaps),
        code=BOXES_CODE,
    )
