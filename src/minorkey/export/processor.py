"""The image processor beside a model."""

from typing import Any

from minorkey.tasks.exported import Exported
from minorkey.tasks.predictor import Predictor


def preprocessor(predictor: Predictor, exported: Exported) -> dict[str, Any]:
    """Settings of a stock image processor: values in 0..1, normalised, and images at their own size, unless said."""
    settings = {
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(predictor.mean),
        "image_std": list(predictor.std),
    }
    if size := predictor.protocol.input_size:
        settings |= {"do_resize": True, "size": {"height": size[0], "width": size[1]}, "resample": 2}  # bilinear
    return settings | dict(exported.processor)
