"""Readers of boxes around objects: one for files on disk, a module for each way in which boxes are written."""

from minorkey.data.readers.boxes.reader import BoxReader
from minorkey.data.readers.boxes.spec import BoxSpec, named_box_datasets

__all__ = ["BoxReader", "BoxSpec", "named_box_datasets"]
