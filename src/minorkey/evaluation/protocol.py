"""How a score was measured. Two scores may be compared only if their protocols are equal."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator

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


class Protocol(BaseModel):
    """Everything about the measurement, apart from the model, that changes the score.

    Test resolution alone moves published scores by two points of mIoU, so every score carries this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_space: str
    window: Size | None = None  # height, width in pixels; None: the whole image at once
    stride: Size | None = None  # given exactly when there is a window
    resize: PositiveInt | None = None  # long side in pixels before the network; None: native size
    resize_in: dict[str, PositiveInt | None] = {}  # the same for single domains, by their name
    flip: bool = False  # average with the mirrored image
    scales: tuple[PositiveFloat, ...] = (1.0,)  # average over these image scales
    weights: Weights = "last"
    classes_scored: tuple[str, ...] | None = None  # other classes count as ignored; None: all

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
        newer = set() if self.resize_in else {"resize_in"}  # left out while unused: older scores keep their id
        values = self.model_dump(mode="json", exclude=newer)
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def describe(self) -> str:
        """One line of English.

        >>> Protocol(label_space="cityscapes19", window=(128, 256), stride=(85, 171)).describe()
        'cityscapes19, all classes; native size; window 128x256, stride 85x171; last weights'
        """
        count = len(self.classes_scored) if self.classes_scored is not None else "all"
        parts = [
            f"{self.label_space}, {count} classes",
            self._describe_size(),
            self._describe_window(),
        ]
        if self.scales != (1.0,):
            parts.append("scales " + ", ".join(f"{scale:g}" for scale in self.scales))
        if self.flip:
            parts.append("averaged with the mirrored image")
        parts.append(WEIGHTS[self.weights])
        return "; ".join(parts)

    def _describe_size(self) -> str:
        def size(side: int | None) -> str:
            return "native size" if side is None else f"long side {side} px"

        return ", ".join([size(self.resize), *(f"{name} at {size(side)}" for name, side in self.resize_in.items())])

    def _describe_window(self) -> str:
        if self.window is None or self.stride is None:
            return "whole image"
        return f"window {self.window[0]}x{self.window[1]}, stride {self.stride[0]}x{self.stride[1]}"
