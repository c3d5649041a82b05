"""Who labels the target: the four teachers, in one shape.

A teacher is a network with other values in some of its tensors. `ema` keeps a second network for them. The others
keep only the tensors that differ and exchange them with the student's for the time of a forward pass; what is not
exchanged, the frozen backbone above all, exists once.

| teacher | tensors of its own | changed by |
| --- | --- | --- |
| `ema` | all, in a network of its own | the average of the student's |
| `adapter_ema` | those that train | the average of the student's |
| `self` | none | nothing |
| `base` | those that train in the backbone, as they were before training | nothing |

Beside these, each has its own running statistics of the batch norms that train with the student, moved by its own
passes over target images alone, as the momentum network of TransDA (arXiv 2203.07988) has it. With
`buffers: student` they are the student's.

The average is theta_bar <- m theta_bar + (1 - m) theta after every step (`averages.py`).

A teacher of one's own is a subclass, named as `package.module:Class`, with options in `Options`. An average may have
another `momentum`; any teacher says which tensors it has of its own (`replaced`), and how they follow (`update`).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import ClassVar, Literal

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from minorkey.adapters import Attached
from minorkey.catalog import Catalog
from minorkey.models.batch_norm import globalise
from minorkey.models.build import backbone_of
from minorkey.models.modes import evaluating
from minorkey.models.trained import trained_tensors
from minorkey.regimes.averages import move_averages
from minorkey.system.reduction import process_count
from minorkey.system.tensors import check_tensors

Tensors = dict[str, Tensor]


class TeacherOptions(BaseModel):
    """The model that labels the target while the student learns (docs/adaptation.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        "adapter_ema",
        description="ema: averaged copy of the whole network; adapter_ema: averages of what trains alone, on the "
        "student's frozen backbone; self: the student; base: the pretrained backbone under the student's head; or your "
        "own as package.module:Class",
    )
    momentum: float = Field(0.999, ge=0, lt=1, description="share of the average that a step keeps")
    ramp: bool = Field(True, description="average evenly at first: the momentum of step t is at most 1 - 1 / (t + 1)")
    buffers: Literal["target", "student"] = Field(
        "target",
        description="running statistics of its batch norms: its own, from target images only, or the student's",
    )

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        return TEACHERS.checked(name)


def momentum_at(step: int, options: TeacherOptions) -> float:
    """Share of the average that is kept at a 1-based step.

    With a ramp min(1 - 1 / (t + 1), m): the average of the first values is an even one (mean teachers,
    arXiv 1703.01780).

    >>> momentum_at(1, TeacherOptions(momentum=0.9)), momentum_at(99, TeacherOptions(momentum=0.9))
    (0.5, 0.9)
    """
    return min(1 - 1 / (step + 1), options.momentum) if options.ramp else options.momentum


class Teacher:
    """The student with tensors of the teacher's own in place of some of its own; by itself, running statistics alone.

    Args:
        network: the student, with its adapter attached.
        attached: that adapter.
        options: momentum and statistics.
    """

    Options: ClassVar[type[TeacherOptions]] = TeacherOptions
    is_student: ClassVar[bool] = False  # whether its weights are the student's, so that one pass can be both
    pretrained: ClassVar[bool] = False  # whether it is to be made while the network is as pretrained, and stays so

    def __init__(self, network: nn.Module, attached: Attached, options: TeacherOptions) -> None:
        self.network, self.attached, self.options = network, attached, options
        self._norms = _trained_norms(network, attached) if options.buffers == "target" else {}
        self._collect()
        self.own = {name: value.detach().clone() for name, value in self._slots.items()}

    def prepare(self, accelerator: Accelerator) -> None:
        """Follow the student to its device; its precision and processes are those of the student already."""
        self.own = {name: value.to(accelerator.device) for name, value in self.own.items()}
        self._collect()  # a module that moves gets other buffers

    @contextmanager
    def installed(self) -> Iterator[nn.Module]:
        """The network with the teacher's weights, for passes over target images; none of them is differentiated.

        In evaluation mode, but for the batch norms with statistics of the teacher's own: they normalise by the batch
        and note what they see.
        """
        with torch.no_grad(), self._evaluating():
            _exchange(self._slots, self.own)
            try:
                yield self.network
            finally:
                _exchange(self._slots, self.own)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """For a training pass of the student over target images that is the teacher's as well: its statistics move."""
        _exchange(self._statistics, self.own)
        try:
            yield
        finally:
            _exchange(self._statistics, self.own)

    def update(self, step: int) -> None:
        """Take in the student after optimizer step `step`, 1 for the first."""

    def momentum(self, step: int) -> float:
        """Share of its averages, if it has any, that it keeps at that step, in [0, 1]."""
        return momentum_at(step, self.options)

    def trained_tensors(self) -> Tensors:
        """Copies of what trains and of the running statistics, as the teacher has them, by name in a checkpoint."""
        with self.installed():
            return {name: value.clone() for name, value in trained_tensors(self.attached, self.network).items()}

    def state_dict(self) -> Tensors:
        """The tensors of the teacher's own, by name in the network."""
        return dict(self.own)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict()`, bit for bit."""
        check_tensors(state, self.own, "the teacher of the checkpoint", "it is of another teacher, method or head")
        for name, value in state.items():
            self.own[name].copy_(value)

    def _collect(self) -> None:
        """Look up what every pass needs of the network, once: a walk through it takes as long as a small step."""
        self._modules = list(self.network.modules())
        self._statistics = _statistics(self._norms)
        self._slots = self.replaced()

    def replaced(self) -> Tensors:
        """The tensors of the network that the teacher has its own values for."""
        return _statistics(self._norms)

    def _evaluating(self) -> AbstractContextManager[None]:
        return evaluating(self.network, self._norms.values(), self._modules)


class Itself(Teacher):
    """The student: the teacher `self`."""

    is_student = True


class AdapterEma(Teacher):
    """Averages of what trains; the frozen backbone is the student's."""

    def update(self, step: int) -> None:
        """Move the averages towards the student."""
        move_averages(self.own, self._averaged, self.momentum(step))

    def replaced(self) -> Tensors:
        """What trains, and the statistics."""
        self._averaged = _trained(self.network)
        return self._averaged | super().replaced()


class Base(Teacher):
    """The backbone as it is when this is made, which is to be as pretrained, under the student's head."""

    pretrained = True

    def replaced(self) -> Tensors:
        """What trains in the backbone, and the statistics."""
        inside = {id(parameter) for parameter in backbone_of(self.network).parameters()}
        backbone = {name: value for name, value in _trained(self.network).items() if id(value) in inside}
        return backbone | super().replaced()


class Anchor(Base):
    """That backbone with its own statistics as well, for features of any images; it labels nothing."""

    def __init__(self, network: nn.Module, attached: Attached) -> None:
        super().__init__(network, attached, TeacherOptions(name="base", buffers="student"))

    def replaced(self) -> Tensors:
        """As of `Base`, with all statistics that training moves."""
        return super().replaced() | _statistics(_trained_norms(self.network, self.attached))


class Ema(Teacher):
    """A second network that follows the student: the momentum network of TransDA."""

    def __init__(self, network: nn.Module, attached: Attached, options: TeacherOptions) -> None:
        self.student = network
        copied, attached = deepcopy((network, attached))
        super().__init__(copied, attached, options)
        self.own = self._averaged | self._slots

    def prepare(self, accelerator: Accelerator) -> None:
        """Put the copy where the student is, in its precision."""
        if process_count() > 1:
            globalise(self.network)
        self.network = accelerator.prepare_model(self.network, evaluation_mode=True)
        self._collect()  # a module that moves gets other buffers
        self.own = self._averaged | self._slots

    @contextmanager
    def installed(self) -> Iterator[nn.Module]:
        """The copy."""
        with torch.no_grad(), self._evaluating():
            yield self.network

    def update(self, step: int) -> None:
        """Move the copy towards the student."""
        move_averages(self._averaged, self._followed, self.momentum(step))
        self._copy_buffers()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict()`, around a student that has its own state already."""
        super().load_state_dict(state)
        self._copy_buffers()

    def _copy_buffers(self) -> None:
        """Those that are no statistics of its own are the student's."""
        if self._copied:
            torch._foreach_copy_(list(self._copied), list(self._copied.values()))

    def _collect(self) -> None:
        super()._collect()
        self._averaged, self._followed = _trained(self.network), _trained(self.student)
        student = dict(self.student.named_buffers())
        named = self.network.named_buffers()
        self._copied = {buffer: student[name] for name, buffer in named if name not in self._slots}


TEACHERS: Catalog[type[Teacher]] = Catalog(
    "teacher",
    {"ema": Ema, "self": Itself, "adapter_ema": AdapterEma, "base": Base},
    "a subclass of minorkey.regimes.teachers:Teacher",
    lambda part: isinstance(part, type) and issubclass(part, Teacher),
)


def make_teacher(network: nn.Module, attached: Attached, options: TeacherOptions) -> Teacher:
    """The teacher of a student that is not yet prepared for devices, precision and processes."""
    return TEACHERS.resolve(options.name)(network, attached, options)


def _trained(network: nn.Module) -> Tensors:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def _trained_norms(network: nn.Module, attached: Attached) -> dict[str, nn.Module]:
    """Batch norms whose statistics move while the student trains: those outside of a frozen backbone."""
    frozen = set() if attached.method.spec.trains == "everything" else set(backbone_of(network).modules())
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module not in frozen
    }


def _statistics(norms: Mapping[str, nn.Module]) -> Tensors:
    return {f"{name}.{part}": value for name, norm in norms.items() for part, value in norm.named_buffers()}


def _exchange(slots: Tensors, own: Tensors) -> None:
    """Swap the memory of the network's tensors with the teacher's; nothing is copied."""
    for name, slot in slots.items():
        slot.data, own[name] = own[name], slot.data
