"""A detector in one graph: boxes, their scores and classes, the surest first."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.image_transforms import corners_to_center_format
from transformers.utils import ModelOutput

from minorkey.models.heads.detection.atss.anchors import clipped, in_pixels, shares
from minorkey.tasks.deployed import Deployed, Outputs, Size
from minorkey.tasks.detection.padding import UNIT

SCRIPT = '''\
def predict(name):
    """Say what is found in an image and where, and draw it."""
    file, image = new_file(name, "boxes"), opened(name)
    (boxes, scores, classes), _ = look(image)
    boxes = np.clip(boxes * np.tile(np.divide(image.size, seen(image)), 2), 0, np.tile(image.size, 2))
    draw = ImageDraw.Draw(image)
    for box, score, number in zip(boxes.tolist(), scores, classes):
        if score >= 0.3 and box[2] > box[0] and box[3] > box[1]:
            print(f"{name}: {ABOUT['classes'][number]} {score:.3f} at {' '.join(f'{side:.1f}' for side in box)}")
            draw.rectangle(box, outline="red")
    image.save(file)
'''


class Found(nn.Module):
    """The `most` likeliest pairs of query and class of each image."""

    def __init__(self, model: nn.Module, most: int) -> None:
        super().__init__()
        self.model, self.most = model, most

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of normalised images `(B, 3, H, W)`, sides multiples of 32.

        Returns:
            Corners `(B, N, 4)` in pixels, scores `(B, N)`, classes `(B, N)`.
        """
        output = self.model(pixel_values=images)
        queries, classes = output.logits.shape[1:]
        scores, pairs = output.logits.float().sigmoid().flatten(1).topk(min(self.most, queries * classes))
        boxes = output.pred_boxes.float().gather(1, (pairs // classes)[..., None].expand(-1, -1, 4))
        size = (images.shape[-2], images.shape[-1])
        return clipped(in_pixels(boxes, size), size), scores, pairs % classes


def deployed(model: PreTrainedModel, most: int) -> Deployed:
    """A detector's boxes, `most` of an image; none is suppressed but by a head that does so itself (atss).

    Anchors and the maps that decoders look at have sizes that are fixed as the graph is made.
    """
    return Deployed(
        network=Found(model, most),
        outputs={
            "boxes": "(B, N, 4) float32: x0 y0 x1 y1 in pixels of what the network sees",
            "scores": "(B, N) float32: 0 to 1, the surest first",
            "classes": "(B, N) int64: places in `classes`",
        },
        difference=_difference,
        script=SCRIPT,
        multiple=UNIT,
        any_size=False,
    )


def from_deployed(outputs: Outputs, size: Size) -> ModelOutput:
    """Boxes with a logit for their class alone, in the form of a DETR: no other pair of box and class is found.

    Args:
        outputs: of `Found`.
        size: height and width of the images.
    """
    scores, classes = outputs["scores"], outputs["classes"]
    logits = scores.new_full((*scores.shape, int(classes.max()) + 1), -torch.inf)
    logits.scatter_(-1, classes[..., None], scores.logit()[..., None])
    boxes = corners_to_center_format(shares(outputs["boxes"], size))
    return ModelOutput(logits=logits, pred_boxes=boxes)


def _difference(expected: Outputs, given: Outputs) -> float:
    """The largest difference of scores, and of boxes as shares of the largest side.

    Boxes of nearly one score may change places: each is compared with the nearest that is given, but for those that
    are as unsure as the last, which others may have displaced.
    """
    difference = float((expected["scores"] - given["scores"]).abs().max())
    side = expected["boxes"].max().clamp(min=1)
    for boxes, scores, classes, *other in zip(*expected.values(), *given.values(), strict=True):
        apart = torch.cdist(boxes / side, other[0] / side, p=torch.inf)
        apart = apart.maximum((scores[:, None] - other[1][None]).abs())
        apart = apart.masked_fill(classes[:, None] != other[2][None], torch.inf).amin(1)
        sure = scores > scores.min() + 1e-4
        difference = max(difference, float(apart[sure].max()) if sure.any() else 0.0)
    return difference
