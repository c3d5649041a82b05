"""The image processor beside a model."""

from typing import Any

from minorkey.tasks.exported import Exported
from minorkey.tasks.predictor import Predictor


def preprocessor(predictor: Predictor, exported: Exported) -> dict[str, Any]:
    """Settings of a stock image processor: values in 0..1, normalised, and images at their own size, unless said.

    Of a stated range it takes the values as they lie in files; it neither clips nor resizes them, for without
    torchvision the processors of transformers resize as Pillow does, bytes alone.
    """
    ranges = predictor.pixels.range
    settings = {
        "do_convert_rgb": not predictor.pixels.stated,  # grey, palettes and CMYK too
        "do_resize": False,
        "do_rescale": ranges is None,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(predictor.mean),
        "image_std": list(predictor.std),
    }
    if ranges is not None:  # mapped and normalised in one: ((v - low) / (high - low) - mean) / std
        pairs = list(ranges) * (1 if len(ranges) > 1 else len(predictor.mean))
        lows, spans = [low for low, _ in pairs], [high - low for low, high in pairs]
        settings["image_mean"] = [low + m * span for low, m, span in zip(lows, predictor.mean, spans, strict=True)]
        settings["image_std"] = [s * span for s, span in zip(predictor.std, spans, strict=True)]
    if (size := predictor.protocol.input_size) and ranges is None:
        settings |= {"do_resize": True, "size": {"height": size[0], "width": size[1]}, "resample": 2}  # bilinear
    return settings | dict(exported.processor)
