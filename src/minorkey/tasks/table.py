"""The tasks by name: a row each, and anyone's own as `package.module:attribute`."""

from minorkey.catalog import Catalog
from minorkey.tasks.base import Task

TASKS = {
    "segmentation": "minorkey.tasks.segmentation.task:Segmentation",
    "detection": "minorkey.tasks.detection.task:Detection",
}
"""Name -> where the class is; it is imported when it is asked for."""


def _is_task(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Task)


CATALOG: Catalog[type[Task]] = Catalog("task", TASKS, "a subclass of minorkey.tasks.base.Task", _is_task)


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigError: there is none.
        OutsideError: an outside one cannot be imported, or is none.
    """
    return CATALOG.resolve(name)()
