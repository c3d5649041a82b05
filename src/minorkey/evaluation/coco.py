"""The figures of the COCO benchmark, from the library faster-coco-eval."""

from typing import Any

import numpy as np

from minorkey.evaluation.box_rows import Found, Truth

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
    from faster_coco_eval import COCO, COCOeval_faster

    labelled = COCO(
        {
            "images": [{"id": image} for image in range(images)],
            "categories": [{"id": int(place)} for place in np.union1d(truth.classes, found.classes)],
            "annotations": [
                {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": int(crowd)}
                for number, (row, crowd) in enumerate(zip(_rows(truth), truth.crowd, strict=True), start=1)
            ],
        }
    )
    scored = [{**row, "score": float(score)} for row, score in zip(_rows(found), found.scores, strict=True)]
    evaluation = COCOeval_faster(labelled, labelled.loadRes(scored), iouType="bbox")
    evaluation.params.maxDets = [most]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    values = [float(value) for value in evaluation.stats[: len(NAMES)]]
    return {name: value if value >= 0 else float("nan") for name, value in zip(NAMES, values, strict=True)}


def _rows(table: Truth | Found) -> list[dict[str, Any]]:
    boxes = table.boxes.astype(np.float64)
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    named = zip(table.images.tolist(), table.classes.tolist(), sizes.tolist(), strict=True)
    return [{"image_id": image, "category_id": place, "bbox": box} for image, place, box in named]
