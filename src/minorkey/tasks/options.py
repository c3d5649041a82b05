"""The tasks by name."""

from typing import Literal, get_args

TaskName = Literal["segmentation", "detection"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
