"""What the regimes with a teacher share: who is kept beside the network, where, and in which state."""

from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from minorkey.regimes.teachers import Teacher
from minorkey.tasks.base import Task


class Taught:
    """A student, its teacher, and modules that train beside it.

    Args:
        task: says what the losses are.
        model: what trains.
        teacher: who labels the target.
        classes: K.
        steps: length of the training.
    """

    def __init__(self, task: Task, model: nn.Module, teacher: Teacher, classes: int, steps: int) -> None:
        self.task, self.model, self.teacher = task, model, teacher
        self.classes, self.steps = classes, steps
        self.done = 0
        self.signals: dict[str, Tensor] = {}

    def teachers(self) -> dict[str, Teacher]:
        """Networks that are asked and do not train, by name."""
        return {"teacher": self.teacher}

    def modules(self) -> dict[str, nn.Module]:
        """What trains beside the network, by name."""
        return {}

    def param_groups(self) -> list[dict[str, Any]]:
        """Of these modules; none."""
        return []

    def running(self) -> dict[str, nn.Module]:
        """Statistics that a resumed run needs, by name."""
        return {}

    def prepare(self, accelerator: Accelerator, model: nn.Module, done: int = 0) -> None:
        """Take over the prepared model; what is kept beside it goes where it is."""
        self.model, self.done = model, done
        for teacher in self.teachers().values():
            teacher.prepare(accelerator)
        for module in (*self.modules().values(), *self.running().values()):
            module.to(accelerator.device)
        self.task.set_progress(model, done / self.steps)

    def after_step(self, step: int) -> None:
        """The teachers follow."""
        self.done = step
        self.task.set_progress(self.model, step / self.steps)
        for teacher in self.teachers().values():
            teacher.update(step)

    def state_dict(self) -> dict[str, Tensor]:
        """Of the teachers, the modules and the statistics, their name before each key."""
        parts = self._stateful().items()
        return {f"{part}.{name}": value for part, owner in parts for name, value in owner.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict()`."""
        for part, owner in self._stateful().items():
            start = f"{part}."
            owner.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})

    def _stateful(self) -> dict[str, Any]:
        return {**self.teachers(), **self.modules(), **self.running()}


def named_group(name: str, module: nn.Module, **settings: Any) -> dict[str, Any]:
    """A parameter group over a module, without decay, with the names that a checkpoint goes by."""
    parameters = dict(module.named_parameters())
    group = {"params": list(parameters.values()), "names": [f"{name}.{key}" for key in parameters]}
    return group | {"weight_decay": 0.0, "initial_weight_decay": 0.0} | settings
