"""The tasks by name."""

TaskName = str
TASKS: tuple[TaskName, ...] = ("segmentation", "detection")
