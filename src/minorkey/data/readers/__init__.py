"""Readers: one file per layout, one table of data sets; `open_dataset` finds the right one."""

from minorkey.data.readers.open import open_dataset
from minorkey.data.readers.reader import Reader, Role
from minorkey.data.readers.world import WorldOptions

__all__ = ["Reader", "Role", "WorldOptions", "open_dataset"]
