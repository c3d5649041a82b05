"""ATSS once more, as its paper tells it: loops over objects, maps and anchors, plain numbers, no tensors."""

import math
from statistics import mean, stdev

STRIDES_OF_AN_ANCHOR = 8


def anchors(shapes, image_size, strides=STRIDES_OF_AN_ANCHOR):
    """Per map: centre x, centre y, side."""
    levels = []
    for rows, columns in shapes:
        high, wide = image_size[0] / rows, image_size[1] / columns
        side = strides * math.sqrt(high * wide)
        levels.append([((j + 0.5) * wide, (i + 0.5) * high, side) for i in range(rows) for j in range(columns)])
    return levels


def corners(anchor):
    x, y, side = anchor
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def area(box):
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def common(a, b):
    return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])


def iou(a, b):
    return common(a, b) / (area(a) + area(b) - common(a, b))


def giou(a, b):
    hull = area([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
    return iou(a, b) - (hull - (area(a) + area(b) - common(a, b))) / hull


def assign(boxes, shapes, image_size, k=9, strides=STRIDES_OF_AN_ANCHOR):
    """Algorithm 1 of the paper, then the highest IoU among the objects that share an anchor."""
    levels = anchors(shapes, image_size, strides)
    flat = [anchor for level in levels for anchor in level]
    owners, best = [-1] * len(flat), [-1.0] * len(flat)
    for number, box in enumerate(boxes):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        candidates, first = [], 0
        for level in levels:
            distances = [((cx - x) ** 2 + (cy - y) ** 2, first + i) for i, (cx, cy, _) in enumerate(level)]
            candidates += [place for _, place in sorted(distances)[:k]]
            first += len(level)
        overlaps = [iou(corners(flat[place]), box) for place in candidates]
        threshold = mean(overlaps) + stdev(overlaps)
        for place, overlap in zip(candidates, overlaps, strict=True):
            cx, cy, _ = flat[place]
            inside = box[0] < cx < box[2] and box[1] < cy < box[3]
            if overlap >= threshold and inside and overlap > best[place]:
                owners[place], best[place] = number, overlap
    return owners


def centerness(anchor, box):
    x, y, _ = anchor
    left, right, top, bottom = x - box[0], box[2] - x, y - box[1], box[3] - y
    return math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))


def decoded(anchor, deltas):
    x, y, side = anchor
    x, y = x + 0.1 * side * deltas[0], y + 0.1 * side * deltas[1]
    wide, high = side * math.exp(0.2 * deltas[2]), side * math.exp(0.2 * deltas[3])
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def focal(logit, target):
    p = sigmoid(logit)
    return -0.25 * (1 - p) ** 2 * math.log(p) if target else -0.75 * p**2 * math.log(1 - p)


def losses(logits, deltas, center_logits, boxes, classes, shapes, image_size, strides=STRIDES_OF_AN_ANCHOR):
    """The three terms; everything is a nested list, one entry per image."""
    flat = [anchor for level in anchors(shapes, image_size, strides) for anchor in level]
    class_sum = box_sum = center_sum = weight = 0.0
    positives = 0
    for image in range(len(boxes)):
        for place, owner in enumerate(assign(boxes[image], shapes, image_size, strides=strides)):
            label = classes[image][owner] if owner >= 0 else None
            class_sum += sum(focal(logit, k == label) for k, logit in enumerate(logits[image][place]))
            if owner >= 0:
                box, p = boxes[image][owner], sigmoid(center_logits[image][place])
                central = centerness(flat[place], box)
                box_sum += central * (1 - giou(decoded(flat[place], deltas[image][place]), box))
                center_sum -= central * math.log(p) + (1 - central) * math.log(1 - p)
                weight += central
                positives += 1
    count = max(1, positives)
    return class_sum / count, 2 * box_sum / weight if positives else 0.0, center_sum / count
