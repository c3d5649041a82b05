"""How a score was measured. Two scores may be compared only if their protocols are equal."""

import hashlib
import json
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator

from minorkey.data.corruptions import clean_domain
from minorkey.system.precision import NAMES, Precision

if TYPE_CHECKING:
    from minorkey.tasks.metric import Metric

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

NEWER = ("tile", "input_size", "resize_in", "metric", "detections", "precision", "task", "settings", "absent")
"""Left out of the id while unused, so that older scores keep theirs."""

LARGE = 16
"""Training crops in the area of an image above which it is looked at by windows, where neither a window nor a size is
given. Attention's memory can grow with the square of the area, and a network has never seen so much at once; with crops
of 512 x 512 an image of 2048 x 1024 is below, one of 4K above."""

NAMED = 10
"""How many classes of a label space that is a list of classes are named in a line."""

Absent = Literal["zero", "skip"]
"""What a class counts that is predicted in a domain whose labels do not show it: IoU 0, or nothing."""

ABSENT: dict[Absent, str] = {
    "zero": "classes that are only predicted count 0",
    "skip": "classes that the labels do not show left out",
}

DETECTIONS = 100
"""The most detections per image that count, unless a protocol says otherwise."""


def refuse_gaps(window: Size | None, stride: Size | None) -> None:
    """Raise `ValueError` where windows of such a stride, both height and width in pixels, leave pixels out."""
    if window and stride and any(s > w for s, w in zip(stride, window, strict=True)):
        step, size = ("x".join(map(str, each)) for each in (stride, window))
        raise ValueError(f"stride {step} is larger than window {size}: pixels would be missed")


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
    input_size: Size | None = None  # height, width that every image is brought to, whatever its sides
    flip: bool = False  # average with the mirrored image
    scales: tuple[PositiveFloat, ...] = (1.0,)  # average over these image scales
    weights: Weights = "last"
    classes_scored: tuple[str, ...] | None = None  # other classes count as ignored; None: all
    metric: str = "miou"  # a row of the task's metrics, or package.module:attribute
    task: str | None = None  # whose metric it is; None: that of the shipped task which has it
    detections: PositiveInt | None = None  # the most per image that count, the best ones; None: 100
    absent: Absent = "skip"  # of mIoU; what scores were measured by before there was a choice
    precision: Precision = "fp32"  # that the network computed in
    settings: dict[str, bool | int | float | str] = {}  # what else a task sets, by name

    @property
    def most_detections(self) -> int:
        """The most detections per image that count."""
        return self.detections or DETECTIONS

    @property
    def absent_rule(self) -> str:
        """What becomes of a class that is predicted and not there."""
        return ABSENT[self.absent]

    @property
    def scored(self) -> "Metric":
        """The row of the metric: what the score is called, and is in."""
        from minorkey.tasks.scored import metric_named  # the tasks import this file

        return metric_named(self.metric, self.task)

    @model_validator(mode="after")
    def _stride_fits_window(self) -> "Protocol":
        if (self.window is None) != (self.stride is None):
            raise ValueError("window and stride go together; give both or neither")
        refuse_gaps(self.window, self.stride)
        return self

    def in_domain(self, domain: str) -> "Protocol":
        """The protocol in one domain; a corrupted domain (`camvid+night@3`) is measured like the clean one."""
        resize = self.resize_in.get(domain, self.resize_in.get(clean_domain(domain), self.resize))
        return self.model_copy(update={"resize": resize, "resize_in": {}})

    def id(self) -> str:
        """Eight hexadecimal digits, equal for equal protocols in any process."""
        unused = {name for name in NEWER if getattr(self, name) == type(self).model_fields[name].default}
        values = self.model_dump(mode="json", exclude=unused)
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def describe(self) -> str:
        """One line of English.

        >>> protocol = Protocol(label_space="cityscapes19", window=(128, 256), stride=(85, 171), absent="zero")
        >>> print(protocol.describe().replace("; ", "\\n"))
        cityscapes19, all classes
        classes that are only predicted count 0
        native size
        window 128x256, stride 85x171
        last weights
        """
        parts = [f"{_shortened(self.label_space)}, {self._describe_classes()}"]
        if rule := self.scored.rule:
            parts.append(rule.format(protocol=self))
        if self.input_size:
            parts.append(f"images at {self.input_size[0]}x{self.input_size[1]}")
        else:
            parts += [self._describe_size(), self._describe_window()]
        if self.scales != (1.0,):
            parts.append("scales " + ", ".join(f"{scale:g}" for scale in self.scales))
        if self.flip:
            parts.append("averaged with the mirrored image")
        parts += [f"{name.replace('_', ' ')} {value}" for name, value in self.settings.items()]
        if self.precision != "fp32":
            parts.append(f"computed in {NAMES[self.precision]}")
        parts.append(WEIGHTS[self.weights])
        return "; ".join(parts)

    def _describe_classes(self) -> str:
        if self.classes_scored is None:
            return "all classes"
        named, count = _shortened(", ".join(self.classes_scored)), len(self.classes_scored)
        return f"{count} {'class' if count == 1 else 'classes'} ({named})"

    def _describe_size(self) -> str:
        def size(side: int | None) -> str:
            return "native size" if side is None else f"long side {side} px"

        return ", ".join([size(self.resize), *(f"{name} at {size(side)}" for name, side in self.resize_in.items())])

    def _describe_window(self) -> str:
        if self.window is None or self.stride is None:
            return "whole image" if self.resize else f"whole image, or training crops where it is over {LARGE} of them"
        return f"window {self.window[0]}x{self.window[1]}, stride {self.stride[0]}x{self.stride[1]}"


def _shortened(space: str) -> str:
    """The name of a label space; of a long list of classes the first ones.

    >>> _shortened("cityscapes19"), _shortened(", ".join("abcdefghijklmn"))
    ('cityscapes19', 'a, b, c, d, e, f, g, h, i, j and 4 more')
    """
    classes = space.split(", ")
    return space if len(classes) <= NAMED else f"{', '.join(classes[:NAMED])} and {len(classes) - NAMED} more"
