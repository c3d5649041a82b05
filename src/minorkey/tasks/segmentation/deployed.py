"""A segmentation model in one graph: a score of each class at each pixel."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from minorkey.models.heads.segmentation.dense import DenseSegmenter
from minorkey.models.heads.segmentation.masks import MASK_MODELS
from minorkey.tasks.deployed import Deployed, Outputs, Scale, Size, largest_difference

SCRIPT = '''\
def predict(name):
    """Write the classes of an image's pixels, and say which there are."""
    file, image = new_file(name, "labels"), opened(name)
    (scores,), (height, width) = look(image)  # of each class at each pixel, or at each place of a smaller map
    # Scores are brought to the pixels of the image, not classes: a place of a smaller map is no block of one class.
    filled = 0, 0, seen(image)[0] * scores.shape[2] / width, seen(image)[1] * scores.shape[1] / height
    scores = [Image.fromarray(each).resize(image.size, Image.Resampling.BILINEAR, filled) for each in scores]
    labels = Image.fromarray(np.argmax(scores, 0).astype(np.uint8)).convert("P")
    labels.putpalette([value for colour in ABOUT["colours"] for value in colour])
    labels.save(file)
    shown = ", ".join(ABOUT["classes"][number] for number in np.unique(labels))
    print(f"{name}: {file}, {shown}")
'''

PIXELS = "(B, K, {size}) float32: logits; softmax over the classes makes probabilities of them"
MASKS = "(B, K, {size}) float32: positive scores, the sum of a pixel's need not be 1"


class PixelScores(nn.Module):
    """Logits of a class for every pixel."""

    def __init__(self, model: Any, scale: Scale) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Of normalised images `(B, 3, H, W)`."""
        if self.scale == "coarse":
            return (self.model.decode_head(self.model.backbone(images).feature_maps).float(),)
        return (self.model(pixel_values=images).logits.float(),)


class MaskScores(nn.Module):
    """Scores of classes from masks and their classes, as `semantic_scores`, of all images at once."""

    def __init__(self, model: nn.Module, scale: Scale) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Of normalised images `(B, 3, H, W)`."""
        output = self.model(pixel_values=images)
        classes, masks = output.class_queries_logits.float().softmax(-1)[..., :-1], output.masks_queries_logits.float()
        if self.scale == "full":
            masks = F.interpolate(masks, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return (torch.einsum("bqk,bqhw->bkhw", classes, masks.sigmoid()),)


def deployed(model: PreTrainedModel, scale: Scale) -> Deployed:
    """A score of each class, at each pixel or at each place of the network's own map.

    Heads of transformers pool to, or attend to, maps whose sizes are fixed as the graph is made.
    """
    by_masks = isinstance(model, MASK_MODELS)
    about = MASKS if by_masks else PIXELS
    return Deployed(
        network=MaskScores(model, scale) if by_masks else PixelScores(model, scale),
        outputs={"scores": about.format(size="H, W" if scale == "full" else "h, w")},
        difference=largest_difference,
        script=SCRIPT,
        any_size=isinstance(model, DenseSegmenter),
        by_masks=by_masks,
    )


def from_deployed(outputs: Outputs, canvas: Size, size: Size) -> ModelOutput:
    """Scores at each pixel of images of a height and width, on a canvas around them."""
    scores = outputs["scores"]
    if scores.shape[-2:] != canvas:
        scores = F.interpolate(scores, size=canvas, mode="bilinear", align_corners=False)
    return ModelOutput(logits=scores[..., : size[0], : size[1]])
