"""The script beside a deployed file: it predicts with onnxruntime, Pillow and numpy alone."""

HEAD = '''\
"""Predict images: python predict.py IMAGE... Needs onnxruntime, Pillow and numpy; written by minorkey, Apache-2.0.

Results are written to the folder that it runs in, named by the images. An image that is broken, or whose result would
replace a file, is named and passed over, and the exit code is then 1.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

FOLDER = Path(__file__).parent
ABOUT = json.loads((FOLDER / "metadata.json").read_text(encoding="utf-8"))
SESSION = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])


def opened(name):
    """An image, upright, in RGB; of 16 bits the upper 8."""
    image = ImageOps.exif_transpose(Image.open(name))
    if image.mode == "F":
        raise ValueError("the image has floating point pixels; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("the image has values beyond 0 to 65535; convert it to 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return image.convert("RGB")


def new_file(name, ending):
    """Where the result of an image goes; nothing is there."""
    file = Path(f"{Path(name).stem}-{ending}.png")
    if file.exists() or file.is_symlink():
        raise FileExistsError(f"'{file}' is there already; move it, or run this in another folder")
    return file


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

TAIL = """

if __name__ == "__main__":
    failed = False
    for name in sys.argv[1:]:
        try:
            predict(name)
        except Exception as error:  # Pillow has many for images that are broken
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    sys.exit(failed)
"""


def script(predict: str) -> str:
    """The whole of it, for a task's way to read an image's outputs (`Deployed.script`)."""
    return HEAD + predict + TAIL
