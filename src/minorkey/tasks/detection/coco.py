"""The figures of the COCO benchmark, from the library hotcoco, which gives pycocotools' to the last digit."""

import numpy as np
from numpy.typing import NDArray

from minorkey.tasks.detection.box_rows import Found, Truth
from minorkey.tasks.evidence import Floats

NAMES = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AR")


def coco_scores(truth: Truth, found: Found, images: int, most: int) -> dict[str, float]:
    """AP over IoU 0.50 to 0.95, at 0.50, at 0.75, by size, and AR; fractions, NaN where the truth has no such object.

    Small is below 32², large from 96² square pixels on, of the box: boxes are all that is known here, while the COCO
    data set goes by the area of its masks.

    Args:
        truth: Objects in all images.
        found: Detections in all images.
        images: How many images there are.
        most: The most detections of a class that count in an image.
    """
    from hotcoco import COCO
    from hotcoco import COCOeval as Evaluation

    boxes = _corner_and_size(truth.boxes)
    labelled = COCO.from_arrays(
        [{"id": image} for image in range(images)],
        [{"id": place, "name": str(place)} for place in np.union1d(truth.classes, found.classes).tolist()],
        truth.images,
        truth.classes,
        boxes,
        area=boxes[:, 2] * boxes[:, 3],
        iscrowd=truth.crowd.astype(np.uint8),
    )
    rows = np.column_stack([found.images, _corner_and_size(found.boxes), found.scores, found.classes])
    evaluation = Evaluation(labelled, labelled.load_res(rows.astype(np.float64)), "bbox")
    parameters = evaluation.params
    parameters.maxDets = [most]
    evaluation.params = parameters
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval is not None
    # Precision (10 thresholds, 101 recalls, K classes, all and 3 sizes), recall (10, K, 4); -1 where there is nothing.
    precision, recall = (evaluation.eval[name][..., -1] for name in ("precision", "recall"))
    parts = [precision[..., 0], precision[0, ..., 0], precision[5, ..., 0], *np.moveaxis(precision, -1, 0)[1:]]
    return dict(zip(NAMES, map(_mean, [*parts, recall[..., 0]]), strict=True))


def _mean(values: Floats) -> float:
    known = values[values >= 0]
    return float(known.mean()) if known.size else float("nan")


def _corner_and_size(boxes: NDArray) -> Floats:
    """Boxes `(N, 4)` x0 y0 x1 y1 as x0 y0 width height."""
    corners = boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
