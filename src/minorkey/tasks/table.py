"""The tasks by name: a row each, and anyone's own as `package.module:attribute`."""

from minorkey.catalog import Catalog
from minorkey.tasks.base import Task


def _is_task(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Task)


TASKS: Catalog[type[Task]] = Catalog(
    "task",
    {
        "segmentation": "minorkey.tasks.segmentation.task:Segmentation",
        "detection": "minorkey.tasks.detection.task:Detection",
        "classification": "minorkey.tasks.classification.task:Classification",
    },
    "a subclass of minorkey.tasks.base.Task",
    _is_task,
)
"""Name -> where the class is; it is imported when it is asked for."""


USUAL = "segmentation"
"""What is trained where no task is named."""


def task_settings(name: str) -> list[str]:
    """What a command says for a task: nothing for the usual one.

    >>> task_settings("segmentation"), task_settings("detection")
    ([], ['task=detection'])
    """
    return [] if name == USUAL else [f"task={name}"]


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigError: there is none.
        OutsideError: an outside one cannot be imported, or is none.
    """
    return TASKS.resolve(name)()
