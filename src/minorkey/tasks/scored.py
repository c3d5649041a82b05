"""From the name of a metric, as files have it, to its row and to the task that it is of.

The files may be anyone's: an outside name in them is taken if the user has named it himself, or allowed it.
"""

from minorkey.system.outside import written_by_others
from minorkey.tasks.base import Task
from minorkey.tasks.metric import Metric
from minorkey.tasks.table import TASKS, task_named


def task_of(metric: str, task: str | None = None) -> Task:
    """The task that a metric is of; where its name is not given, the shipped one that has the metric."""
    with written_by_others("a file of scores"):
        return task_named(task or task_with(metric) or next(iter(TASKS.shipped)))


def metric_named(metric: str, task: str | None = None) -> Metric:
    """The metric of this name, of a task as in `task_of`.

    Raises:
        ConfigError: there is none.
    """
    with written_by_others("a file of scores"):
        return task_of(metric, task).metric(metric)


def task_with(metric: str) -> str | None:
    """The shipped task that has a metric of this name, if one has."""
    return next((name for name in TASKS.shipped if metric in task_named(name).metrics), None)
