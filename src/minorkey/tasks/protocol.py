"""How a score was measured. Two scores may be compared only if their protocols are equal."""

import hashlib
import json
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator

from minorkey.system.precision import NAMES, Precision

Size = tuple[PositiveInt, PositiveInt]

Weights = Literal["last", "ema", "teacher", "best_source", "oracle"]
"""Which weights of a training are deployed: the last, their average, those of the teacher that labelled the target, or
the best on the validation images of the source domains; `oracle` are the best on the unseen domains themselves, which
nobody has when it matters."""

WEIGHTS: dict[Weights, str] = {
    "last": "last weights",
    "ema": "averaged (EMA) weights",
    "teacher": "the teacher's last weights",
    "best_source": "weights chosen on source validation",
    "oracle": "ORACLE: weights chosen on the unseen domains",
}

Metric = Literal["miou", "coco", "voc", "voc07"]
"""What is scored: `miou`; `coco`, the AP of COCO, a mean over IoU thresholds 0.50 to 0.95; `voc`, the AP of Pascal VOC
at IoU 0.50, from all points of the curve, and `voc07` that of 2007, from 11 points."""


class _Score(NamedTuple):
    name: str  # in tables
    rule: str  # where the name does not say it
    meaning: str  # how the score of a domain comes about


METRICS: dict[Metric, _Score] = {
    "miou": _Score(
        "mIoU",
        "",
        "Pixels are summed over the images of a domain, then averaged over the classes that its labels show.",
    ),
    "coco": _Score(
        "AP",
        "AP of COCO",
        "Average precision by the rules of COCO: over 101 recall levels and the IoU thresholds 0.50, 0.55 to 0.95, "
        "averaged over the classes that the labels of a domain show.",
    ),
    "voc": _Score(
        "AP50",
        "AP50 of Pascal VOC, all points",
        "Average precision at IoU 0.50 by the rules of Pascal VOC, the area under the curve of precision over recall, "
        "averaged over the classes that the labels of a domain show.",
    ),
    "voc07": _Score(
        "AP50",
        "AP50 of Pascal VOC 2007, 11 points",
        "Average precision at IoU 0.50 by the rules of Pascal VOC 2007, over 11 recall levels, averaged over the "
        "classes that the labels of a domain show.",
    ),
}

NEWER = ("tile", "resize_in", "metric", "detections", "precision")
"""Left out of the id while unused, so that older scores keep theirs."""

LARGE = 16
"""Training crops in the area of an image above which it is looked at by windows, where neither a window nor a size is
given. Attention's memory can grow with the square of the area, and a network has never seen so much at once; with crops
of 512 x 512 an image of 2048 x 1024 is below, one of 4K above."""

DETECTIONS = 100
"""The most detections per image that count, unless a protocol says otherwise."""


class Protocol(BaseModel):
    """Everything about the measurement, apart from the model, that changes the score.

    Test resolution alone moves published scores by two points of mIoU, so every score carries this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_space: str
    window: Size | None = None  # height, width in pixels; None: the whole image at once
    stride: Size | None = None  # given exactly when there is a window
    tile: Size | None = None  # window that was chosen, as nobody gave one and the image is `LARGE`
    resize: PositiveInt | None = None  # long side in pixels before the network; None: native size
    resize_in: dict[str, PositiveInt | None] = {}  # the same for single domains, by their name
    flip: bool = False  # average with the mirrored image
    scales: tuple[PositiveFloat, ...] = (1.0,)  # average over these image scales
    weights: Weights = "last"
    classes_scored: tuple[str, ...] | None = None  # other classes count as ignored; None: all
    metric: Metric = "miou"
    detections: PositiveInt | None = None  # the most per image that count, the best ones; None: 100
    precision: Precision = "fp32"  # that the network computed in

    @property
    def most_detections(self) -> int:
        """The most detections per image that count."""
        return self.detections or DETECTIONS

    @property
    def score_name(self) -> str:
        """What the score is called: mIoU, AP or AP50."""
        return METRICS[self.metric].name

    @property
    def class_score_name(self) -> str:
        """What the score of one class is called: IoU, AP or AP50."""
        return self.score_name.removeprefix("m")

    @model_validator(mode="after")
    def _stride_fits_window(self) -> "Protocol":
        if (self.window is None) != (self.stride is None):
            raise ValueError("window and stride go together; give both or neither")
        if self.window and self.stride and any(s > w for s, w in zip(self.stride, self.window, strict=True)):
            raise ValueError(f"stride {self.stride} is larger than window {self.window}; pixels are missed")
        return self

    def in_domain(self, domain: str) -> "Protocol":
        """The protocol in one domain; a corrupted domain (`camvid+night@3`) is measured like the clean one."""
        clean = domain.partition("+")[0]
        return self.model_copy(update={"resize": self.resize_in.get(clean, self.resize), "resize_in": {}})

    def id(self) -> str:
        """Eight hexadecimal digits, equal for equal protocols in any process."""
        unused = {name for name in NEWER if getattr(self, name) == type(self).model_fields[name].default}
        values = self.model_dump(mode="json", exclude=unused)
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def describe(self) -> str:
        """One line of English.

        >>> Protocol(label_space="cityscapes19", window=(128, 256), stride=(85, 171)).describe()
        'cityscapes19, all classes; native size; window 128x256, stride 85x171; last weights'
        """
        count = len(self.classes_scored) if self.classes_scored is not None else "all"
        parts = [f"{self.label_space}, {count} classes"]
        if self.metric != "miou":
            parts.append(f"{METRICS[self.metric].rule}, {self.most_detections} detections an image")
        parts += [self._describe_size(), self._describe_window()]
        if self.scales != (1.0,):
            parts.append("scales " + ", ".join(f"{scale:g}" for scale in self.scales))
        if self.flip:
            parts.append("averaged with the mirrored image")
        if self.precision != "fp32":
            parts.append(f"computed in {NAMES[self.precision]}")
        parts.append(WEIGHTS[self.weights])
        return "; ".join(parts)

    def explain_score(self) -> str:
        """A sentence on how the score of a domain comes about."""
        return METRICS[self.metric].meaning

    def _describe_size(self) -> str:
        def size(side: int | None) -> str:
            return "native size" if side is None else f"long side {side} px"

        return ", ".join([size(self.resize), *(f"{name} at {size(side)}" for name, side in self.resize_in.items())])

    def _describe_window(self) -> str:
        if self.window is None or self.stride is None:
            return "whole image" if self.resize else f"whole image, or training crops where it is over {LARGE} of them"
        return f"window {self.window[0]}x{self.window[1]}, stride {self.stride[0]}x{self.stride[1]}"
