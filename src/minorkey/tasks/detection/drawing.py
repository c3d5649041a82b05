"""Boxes with their names on an image."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

LINE = 0.0025
"""Width of a line, of the long side of the image."""
TEXT = 0.014
"""Height of a text, of the long side of the image."""
SMALLEST_TEXT = 10
HIDDEN = 0.5
"""Share of a box that a text may hide. On small images a name is as large as what it names, which people look for."""
DARK: Colour = (16, 16, 16)
LIGHT: Colour = (255, 255, 255)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, colours: Sequence[Colour], texts: Sequence[str]) -> Image.Image:
    """An image with boxes; where boxes overlap, the first is on top, and no text is under a line.

    A text for which there is no room, without hiding a box or another text, is left out.

    Args:
        image: `(H, W, 3)` uint8.
        boxes: `(N, 4)`, `x0 y0 x1 y1` in pixels; `x1 y1` are exclusive.
        colours: one for each box.
        texts: one for each box; a line each.

    Returns:
        A picture `W` x `H`. Lines and texts grow with it.
    """
    picture = Image.fromarray(image).copy()
    draw = ImageDraw.Draw(picture)
    long_side = max(image.shape[:2])
    line = max(1, round(LINE * long_side))
    font = ImageFont.load_default(max(SMALLEST_TEXT, round(TEXT * long_side)))
    frames = [_pixels(box) for box in boxes]
    for frame, colour in reversed(list(zip(frames, colours, strict=True))):
        # An edge of the other brightness: dark colours show at night, light ones in fog.
        draw.rectangle(_grown(frame, 1), outline=contrast(colour), width=line + 2)
        draw.rectangle(frame, outline=colour, width=line)
    taken: list[Box] = []
    for frame, colour, text in zip(frames, colours, texts, strict=True):
        place = _place(frame, _text_size(draw, text, font), picture.size, frames, taken)
        if place is None:
            continue
        draw.rectangle(place, fill=colour)
        draw.text((place[0] + 2, place[1] + 1), text, fill=contrast(colour), font=font, anchor="la")
        taken.append(place)
    return picture


def _pixels(box: np.ndarray) -> Box:
    """The outermost pixels of a box."""
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)


def _grown(frame: Box, by: int) -> Box:
    x0, y0, x1, y1 = frame
    return x0 - by, y0 - by, x1 + by, y1 + by


def contrast(colour: Sequence[int]) -> Colour:
    """Black or white for what stands on a colour, RGB 0 to 255: whichever is easier to read (luma, ITU-R BT.601)."""
    red, green, blue = colour
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else LIGHT


def _text_size(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> tuple[int, int]:
    left, _, right, _ = draw.textbbox((0, 0), text, font=font, anchor="la")
    _, top, _, bottom = draw.textbbox((0, 0), "Ag", font=font, anchor="la")  # texts of one height
    return round(right - left) + 4, round(bottom + top) + 2


def _place(
    frame: Box, size: tuple[int, int], picture: tuple[int, int], frames: Sequence[Box], taken: Sequence[Box]
) -> Box | None:
    """Where a text of a size goes: above its box, below it, or inside at the top or the bottom; None: nowhere."""
    x0, y0, _, y1 = frame
    width, height = size
    left = max(0, min(x0, picture[0] - width))
    tops = [top for top in (y0 - height, y1 + 1, y0, y1 - height + 1) if 0 <= top <= picture[1] - height]
    for top in tops or [0]:
        place = left, top, left + width - 1, top + height - 1
        if not any(_shared(place, other) for other in taken) and not any(
            _shared(place, other) > HIDDEN * _area(other) for other in frames
        ):
            return place
    return None


def _area(box: Box) -> int:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def _shared(one: Box, other: Box) -> int:
    """Pixels that two boxes share."""
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) + 1 for i in (0, 1))
    return max(0, width) * max(0, height)
