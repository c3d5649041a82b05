"""Random objects and detections, and what pycocotools says of them."""

import contextlib
import io

import numpy as np

from minorkey.tasks.detection.box_rows import Found, Truth
from minorkey.tasks.detection.evidence import BoxEvidence


def random_evidence(seed, images=12, classes=4, most=100, objects=6, alarms=8, crowds=0.15, levels=None, **fields):
    """Jittered objects with some left out, false alarms, images without either; scores of `levels` different values."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(images):
        corners = rng.uniform(0, 200, (rng.integers(0, objects + 1), 2))
        boxes = np.concatenate([corners, corners + rng.uniform(4, 130, corners.shape)], axis=1)
        kinds = rng.integers(0, classes - 1, len(boxes))  # the last class has no object
        truth.append((np.full(len(boxes), image), boxes, kinds, rng.random(len(boxes)) < crowds))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 5, (2 * len(boxes), 4))
        low = rng.uniform(0, 200, (rng.integers(0, alarms + 1), 2))
        spread = np.concatenate([near, np.concatenate([low, low + rng.uniform(4, 130, low.shape)], axis=1)])
        spread[:, 2:] = np.maximum(spread[:, 2:], spread[:, :2] + 1)
        guesses = np.concatenate([np.repeat(kinds, 2), rng.integers(0, classes, len(low))])
        scores = rng.random(len(spread))
        if levels:
            scores = np.ceil(scores * levels) / levels
        kept = rng.random(len(spread)) < 0.8
        found.append(tuple(column[kept] for column in (np.full(len(spread), image), spread, guesses, scores)))
    return BoxEvidence(images, classes, table(Truth, truth), table(Found, found), most=most, **fields)


def table(kind, rows):
    """Rows of columns as one table, with the types of the contract."""
    types = (np.int64, np.float32, np.int64, bool if kind is Truth else np.float32)
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return kind(*(column.astype(dtype) for column, dtype in zip(columns, types, strict=True)))


def pycocotools_evaluation(evidence):
    """The accumulated evaluation of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def sizes(boxes):
        boxes = boxes.astype(np.float64)
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()

    truth, found = evidence.truth, evidence.found
    with contextlib.redirect_stdout(io.StringIO()):
        labelled = COCO()
        labelled.dataset = {
            "images": [{"id": image} for image in range(evidence.images)],
            "categories": [{"id": place} for place in range(evidence.num_classes)],
            "annotations": [
                {"id": number, "image_id": image, "category_id": kind, "bbox": box, "area": box[2] * box[3],
                 "iscrowd": int(crowd)}
                for number, (image, box, kind, crowd) in enumerate(
                    zip(truth.images.tolist(), sizes(truth.boxes), truth.classes.tolist(), truth.crowd, strict=True), 1
                )
            ],
        }  # fmt: skip
        labelled.createIndex()
        rows = np.concatenate(
            [found.images[:, None], sizes(found.boxes), found.scores[:, None], found.classes[:, None]], axis=1
        )
        evaluation = COCOeval(labelled, labelled.loadRes(rows), "bbox")
        evaluation.params.maxDets = [evidence.most]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation
