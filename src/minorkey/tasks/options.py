"""The tasks by name."""

from typing import Literal

TaskName = Literal["segmentation", "detection"]
