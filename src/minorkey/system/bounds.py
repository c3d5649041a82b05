"""Numbers that decide how much memory is taken: far above what is sensible, far below what no machine has."""

from typing import Annotated

from pydantic import Field

MOST_SIDE = 2**15
"""Pixels of a side: of an image to be trained on, of a crop or a window."""

MOST_PIXELS = 2**29
"""Of an 8-bit PNG; Pillow reads all others, and takes 2 * `PIL.Image.MAX_IMAGE_PIXELS`, 179 million unless changed."""

MOST_IMAGES = 2**16
"""Images in a batch, batches in a step."""

MOST_PROCESSES = 1024

MOST_BOXES = 50_000
"""In one image; the most crowded photographs of published data sets have a few thousand."""

MOST_RUNS = 1000
"""Repetitions: rounds, layers of a decoder, pictures that are kept."""

Side = Annotated[int, Field(gt=0, le=MOST_SIDE)]
Scale = Annotated[float, Field(gt=0, le=100)]
Batch = Annotated[int, Field(gt=0, le=MOST_IMAGES)]
