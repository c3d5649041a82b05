"""The script beside a deployed file: it predicts with onnxruntime, Pillow and numpy alone."""

HEAD = '''\
"""Predict images: python predict.py IMAGE... Needs onnxruntime, Pillow and numpy; written by minorkey, Apache-2.0."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

FOLDER = Path(__file__).parent
ABOUT = json.loads((FOLDER / "metadata.json").read_text(encoding="utf-8"))
SESSION = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])


def seen(image):
    """Width and height that an image is brought to."""
    if ABOUT["input_size"]:
        return tuple(ABOUT["input_size"][::-1])
    factor = ABOUT["resize"] / max(image.size) if ABOUT["resize"] else 1
    if ABOUT["size"]:
        factor = min(factor, ABOUT["size"][1] / image.width, ABOUT["size"][0] / image.height)
    return tuple(max(1, round(side * factor)) for side in image.size)


def look(image):
    """What the network gives of an image, which lies at the top left of a canvas of the mean colour."""
    small = image if image.size == seen(image) else image.resize(seen(image), Image.Resampling.BILINEAR)
    height, width = ABOUT["size"] or (-(-side // ABOUT["multiple"]) * ABOUT["multiple"] for side in small.size[::-1])
    canvas = np.empty((height, width, 3), np.uint8 if ABOUT["preprocess"] else np.float32)
    canvas[:] = np.rint(255 * np.array(ABOUT["mean"])) if ABOUT["preprocess"] else 0
    pixels = np.asarray(small)
    if not ABOUT["preprocess"]:
        pixels = (pixels / np.float32(255) - np.float32(ABOUT["mean"])) / np.float32(ABOUT["std"])
    canvas[: small.height, : small.width] = pixels
    batch = canvas[None] if ABOUT["preprocess"] else np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])
    return [values[0] for values in SESSION.run(list(ABOUT["outputs"]), {"images": batch})], (height, width)


'''


def script(end: str) -> str:
    """The whole of it, for a task's way to read an image's outputs (`Deployed.script`)."""
    return HEAD + end
