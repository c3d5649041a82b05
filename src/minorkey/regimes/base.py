"""What a regime is: the losses of a step, and what it keeps beside the network that trains."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from minorkey.adapters import Attached
from minorkey.data.sample import Batch
from minorkey.regimes.teachers import TEACHERS, Teacher, TeacherOptions, make_teacher
from minorkey.tasks.base import Task
from minorkey.tasks.counts import shared
from minorkey.tasks.self_training import Colours

if TYPE_CHECKING:
    from minorkey.config import RunConfig


class RegimeOptions(BaseModel):
    """What a user can set of a regime; by itself nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Setup:
    """What a regime is built around."""

    task: Task
    model: nn.Module  # the network that trains, with its adapter; not yet prepared for devices and processes
    attached: Attached  # its adapter
    classes: int  # K
    steps: int  # length of the training
    options: Any = field(default_factory=RegimeOptions)  # an instance of the regime's `Options`
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    lr: float = 1e-4  # of the head, and of what trains beside the network as it does
    colours: Colours | None = None  # of the target's images
    labelled: bool = False  # whether the target's batches carry pseudo-labels of an earlier round


class Regime(ABC):
    """How a training uses its data.

    A regime is this class with `losses`; one of your own may be named as `package.module:Class`, and its options are
    then those of `Options`, in the section `regime_options`.

    Args:
        setup: what it is built around.
        pretrained: what `pretrained` gave of the same setup.
    """

    Options: ClassVar[type[BaseModel]] = RegimeOptions
    section: ClassVar[str] = "regime_options"  # of the configuration, which holds the options
    adapts: ClassVar[bool] = False  # whether its batches are a `Pair`, of the source and an unlabelled target
    compiles: ClassVar[bool] = False  # whether the network may be compiled as one graph

    teacher: Teacher | None = None  # who labels the target

    def __init__(self, setup: Setup, pretrained: Mapping[str, Teacher] | None = None) -> None:
        self.task, self.model, self.options = setup.task, setup.model, setup.options
        self.classes, self.steps = setup.classes, setup.steps
        self.done = 0
        self.signals: dict[str, Tensor] = {}  # of the last batch, without a graph: scalars, or (K,) by class

    @abstractmethod
    def losses(self, batch: Any) -> Iterator[dict[str, Tensor]]:
        """Yield the named losses of a batch; the loop backpropagates each group before asking for the next.

        Args:
            batch: a `Batch` or, where the regime adapts, a `Pair`.
        """

    @property
    def passes(self) -> int:
        """Passes of the network that the next batch trains it by: as many groups of `losses`, the first ones."""
        return 1

    def teachers(self) -> dict[str, Teacher]:
        """Networks that are asked and do not train, by name."""
        return {}

    def modules(self) -> dict[str, nn.Module]:
        """What trains beside the network, by name."""
        return {}

    def param_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of `modules()`; a group without `initial_lr` keeps its rate."""
        return []

    def running(self) -> dict[str, nn.Module]:
        """Statistics that a resumed run needs, by name."""
        return {}

    def prepare(self, accelerator: Accelerator, model: nn.Module, done: int = 0) -> None:
        """Take over the prepared model, after `done` steps of an earlier run; what is kept beside it follows it."""
        self.model, self.done = model, done
        for teacher in self.teachers().values():
            teacher.prepare(accelerator)
        for module in (*self.modules().values(), *self.running().values()):
            module.to(accelerator.device)
        self.task.set_progress(model, done / self.steps if self.steps else 1.0)

    def after_step(self, step: int) -> None:
        """What follows optimizer step `step`, 1 for the first: the model is told how far it is, and teachers follow."""
        self.done = step
        self.task.set_progress(self.model, step / self.steps)
        for teacher in self.teachers().values():
            teacher.update(step)

    def state_dict(self) -> dict[str, Tensor]:
        """Of the teachers, the modules and the statistics, their name before each key: what a resumed run needs."""
        parts = self._stateful().items()
        return {f"{part}.{name}": value for part, owner in parts for name, value in owner.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict()`.

        Raises:
            ValueError: some of it is of no part of this regime.
        """
        parts = self._stateful()
        if strange := sorted(key for key in state if key.partition(".")[0] not in parts):
            raise ValueError(f"the regime has state of {sorted(parts) or 'nothing'}, got {strange}")
        for part, owner in parts.items():
            start = f"{part}."
            owner.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})

    def named(self, name: str, terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The terms of the task's loss on a labelled batch as parts of `name`, each counted by its share.

        The task's main one is `name` itself, beside it are such as `source_auxiliary`.
        """
        names = {key: name if key == self.task.main_term else f"{name}_{key}" for key in terms}
        return {names[key]: term for key, term in shared(terms, batch).items()}

    def _stateful(self) -> dict[str, Any]:
        return {**self.teachers(), **self.modules(), **self.running()}

    @classmethod
    def pretrained(cls, setup: Setup) -> dict[str, Teacher]:
        """The teachers, by name, that are the pretrained network.

        They are asked for while it still is: before anything is loaded that was trained.
        """
        return {}

    @classmethod
    def check(cls, config: "RunConfig") -> None:
        """The rules that the regime adds to those of a run's configuration.

        Raises:
            ValueError: one is broken.
        """
        if config.target and not cls.adapts:
            raise ValueError(f"target is given, but regime is {config.regime}; set regime to self_training or transda")
        if config.training.choose == "teacher" and not cls.adapts:
            raise ValueError(f"training.choose is teacher, but a {config.regime} training has none; use last or ema")

    @classmethod
    def warmup(cls, config: "RunConfig") -> int:
        """First steps, that train on the source alone."""
        return 0

    @classmethod
    def rounds(cls, config: "RunConfig") -> Sequence[Mapping[str, Any]]:
        """What each round has of its own in the section `training`, where there are several; empty: there are none.

        Each round but the first learns the pseudo-labels that the one before it wrote.
        """
        return ()

    @classmethod
    def balance(cls, config: "RunConfig") -> str | None:
        """What balances the classes of these pseudo-labels, a key of `tasks.balance.BALANCES`; None: nothing does."""
        return None


class TeacherRegime(Regime):
    """A student, and a teacher that labels the target for it: `self.teacher`. Batches are `Pair`s."""

    adapts = True
    teacher: Teacher

    def __init__(self, setup: Setup, pretrained: Mapping[str, Teacher] | None = None) -> None:
        super().__init__(setup, pretrained)
        self.teacher = (pretrained or {}).get("teacher") or self._teacher_of(setup)

    def teachers(self) -> dict[str, Teacher]:
        """Networks that are asked and do not train, by name."""
        return {"teacher": self.teacher}

    @classmethod
    def pretrained(cls, setup: Setup) -> dict[str, Teacher]:
        """The teacher, if it is the pretrained network."""
        return {"teacher": cls._teacher_of(setup)} if TEACHERS.resolve(setup.teacher.name).pretrained else {}

    @staticmethod
    def _teacher_of(setup: Setup) -> Teacher:
        return make_teacher(setup.model, setup.attached, setup.teacher)

    @classmethod
    def check(cls, config: "RunConfig") -> None:
        """A target is needed, and the weights of the student in one piece."""
        if not config.target:
            raise ValueError(f"regime {config.regime} adapts to a target; name one, e.g. target=path/to/images")
        if config.training.shard:
            raise ValueError(f"training.shard does not go with regime {config.regime}, whose teacher swaps weights")


def named_group(name: str, module: nn.Module, **settings: Any) -> dict[str, Any]:
    """A parameter group over a module, without decay, with the names that a checkpoint goes by."""
    parameters = dict(module.named_parameters())
    group = {"params": list(parameters.values()), "names": [f"{name}.{key}" for key in parameters]}
    return group | {"weight_decay": 0.0, "initial_weight_decay": 0.0} | settings
