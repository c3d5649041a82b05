"""What a run is: one tree of options, each section of the room that owns it, with the rules between them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from minorkey.adapters.options import MethodOptions
from minorkey.data.classes import FROM_SOURCE, name_their_classes
from minorkey.data.pixels import PixelOptions
from minorkey.data.readers.options import SourceOptions
from minorkey.data.readers.own import taken
from minorkey.data.readers.world import WorldOptions
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError, closest
from minorkey.evaluation.options import EvaluationOptions
from minorkey.labels.space import given_space
from minorkey.labels.written import SpaceRow
from minorkey.models.catalog import with_first_block
from minorkey.models.options import BackboneOptions, HeadOptions
from minorkey.regimes.base import Regime, RegimeOptions
from minorkey.regimes.table import REGIMES
from minorkey.regimes.teachers import TEACHERS, TeacherOptions
from minorkey.regimes.transda.regime import TransdaOptions
from minorkey.system.faults import one_line, own_options, validated
from minorkey.tasks.base import Task
from minorkey.tasks.protocol import Weights
from minorkey.tasks.scored import task_with
from minorkey.tasks.self_training import SelfTrainingOptions
from minorkey.tasks.table import TASKS, USUAL, task_named
from minorkey.training.options import TrainingOptions

DATA = ("source", "target", "unseen")
"""Keys of data sets."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, (str, Mapping, SourceOptions)) else value


def _written_space(value: object) -> object:
    return given_space(value) if isinstance(value, list) or (isinstance(value, Mapping) and value) else value


Names = Annotated[list[Annotated[str, AfterValidator(taken)]], BeforeValidator(_as_list)]
Sources = Annotated[list[SourceOptions], BeforeValidator(_as_list)]
Space = Annotated[str | SpaceRow, BeforeValidator(_written_space)]


class RunConfig(BaseModel):
    """Everything that decides the outcome of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Annotated[str, AfterValidator(TASKS.checked)] = Field(
        USUAL, description="what is learnt of an image: its pixels' classes, boxes, or a task of your own"
    )
    source: Sources = Field(min_length=1, description="labelled data sets to train on, e.g. world:clear")
    target: Sources = Field(default=[], description="unlabelled data sets to adapt to; labels they have are not read")
    unseen: Names = Field(
        default=[], description="data sets that are only judged on: domains never seen, or the target's labelled images"
    )
    data_root: Path | None = Field(None, description="folder that holds the named data sets")
    data_cache: Path | None = Field(
        None, description="folder that keeps the decoded pixels of what is trained on, which then need no decoding"
    )
    label_space: Space = Field(
        "cityscapes19",
        description="the classes to tell apart: name, YAML file, [a, b], {a: [r, g, b]}, or 'source': those that the "
        "data sets name, as is the default for your own",
    )
    world: WorldOptions = WorldOptions()
    pixels: PixelOptions = Field(
        PixelOptions(),
        description="channels and range of images that are not 8-bit RGB (docs/pixels.md); default: as the sources say",
    )
    transform: TransformConfig = TransformConfig()
    target_transform: TransformConfig | None = Field(None, description="of the target; default: as the source's")
    backbone: BackboneOptions = BackboneOptions()
    head: HeadOptions = HeadOptions()
    method: MethodOptions = MethodOptions()
    regime: str = Field(
        "supervised",
        description="supervised, or how the unlabelled target is used: self_training, transda, or your own regime as "
        "package.module:Class",
    )
    teacher: SerializeAsAny[TeacherOptions] = TeacherOptions()
    self_training: SerializeAsAny[SelfTrainingOptions] = Field(SelfTrainingOptions(), validate_default=True)
    transda: TransdaOptions = TransdaOptions()
    regime_options: SerializeAsAny[BaseModel] = Field(
        RegimeOptions(), validate_default=True, description="of a regime of your own"
    )
    training: TrainingOptions = TrainingOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    start_from: Path | None = Field(None, description="finished run whose trained weights this one begins with")
    head_from: Path | Literal["builtin"] | None = Field(
        None,
        description="finished run whose head this one begins with, as a rule one with method frozen (LP-FT); 'builtin' "
        "is the one that ships for the task, over the built-in backbone",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the head, the batches and dropout; equal seeds pair runs")

    @model_validator(mode="before")
    @classmethod
    def _task_defaults(cls, values: Any) -> Any:
        name = task_of(values) if isinstance(values, dict) else None
        head = values.get("head", {}) if isinstance(values, dict) else None
        if not isinstance(name, str) or not TASKS.knows(name):
            return values
        task = task_named(name)
        given = values if "label_space" in values else {"label_space": _usual_space(task, values)} | values
        return given | {"head": {"name": task.default_head, **head}} if isinstance(head, dict) else given

    @field_validator("regime")
    @classmethod
    def _regime_exists(cls, name: str) -> str:
        return REGIMES.checked(name)

    @field_validator("teacher", mode="before")
    @classmethod
    def _teacher_options(cls, value: Any) -> Any:
        name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
        known = isinstance(name, str) and TEACHERS.knows(name)
        return own_options("teacher", TEACHERS.resolve(str(name)).Options if known else TeacherOptions, value)

    @field_validator("self_training", mode="before")
    @classmethod
    def _self_training_options(cls, value: Any, info: ValidationInfo) -> BaseModel:
        if "task" not in info.data:  # which is wrong, and is what has to be said
            return SelfTrainingOptions()
        return own_options("self_training", task_named(info.data["task"]).self_training or SelfTrainingOptions, value)

    @field_validator("regime_options", mode="before")
    @classmethod
    def _regime_options(cls, value: Any, info: ValidationInfo) -> BaseModel:
        if "regime" not in info.data:
            return RegimeOptions()
        regime = REGIMES.resolve(info.data["regime"])
        model = regime.Options if regime.section == "regime_options" else RegimeOptions
        return own_options("regime_options", model, value)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        self.regime_class.check(self)
        if self.target_transform is not None and self.target_transform.crop != self.transform.crop:
            sizes = "x".join(map(str, self.target_transform.crop)), "x".join(map(str, self.transform.crop))
            raise ValueError(f"target_transform.crop is {sizes[0]}, but transform.crop {sizes[1]}; make them the same")
        if held := next((target.data for target in self.target if target.validation is not None), None):
            raise ValueError(f"target '{held}' has `validation`, but its labels are not looked at; leave it out")
        if self.start_from is not None and self.head_from is not None:
            raise ValueError("start_from and head_from are both given, and the first brings a head too; leave one out")
        if self.training.steps == 0 and self.start_from is None and self.head_from is None:
            raise ValueError("training.steps is 0, which judges what a run begins with; name that as head_from")
        return self

    @model_validator(mode="after")
    def _ends_by_what_it_learns(self) -> Self:
        if self.training.patience is not None and self.regime_class.adapts:
            raise ValueError(
                "training.patience ends a training by the source, whose scores do not say when a target is adapted to; "
                f"leave it out with regime {self.regime}"
            )
        return self

    @model_validator(mode="after")
    def _task_agrees(self) -> Self:
        task, metric = task_named(self.task), self.evaluation.metric
        _check_head(task, self.head.name)
        least, given = task.heads.resolve(self.head.name).smallest_batch, self.training.batch_size
        if given < least:
            raise ValueError(
                f"training.batch_size is {given}, but head {self.head.name} normalises over the batch; give it {least} "
                "or more"
            )
        if metric is not None and metric not in task.metrics and task_with(metric):
            raise ValueError(f"evaluation.metric {metric} does not score {self.task}; leave it out")
        task.metric(self.metric)
        if self.training.rare_classes is not None and task.annotation != "pixels":
            raise ValueError(
                f"training.rare_classes counts labelled pixels, which {self.task} has none of; leave it out"
            )
        task.check(self)
        return self

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        obstacles = {
            f"method {self.method.name}": "use_dora" in self.method.spec.peft,
            f"head {self.head.name}": task_named(self.task).heads.resolve(self.head.name).compiled is None,
            f"regime {self.regime}": not self.regime_class.compiles,
            "training.shard": self.training.shard,
            "training.gradient_checkpointing": self.training.gradient_checkpointing,
        }
        for what in (name for name, present in obstacles.items() if present and self.training.compile):
            raise ValueError(f"training.compile does not go with {what}; leave one of them out")
        return self

    @property
    def regime_class(self) -> type[Regime]:
        """The regime, which knows its own rules and options."""
        return REGIMES.resolve(self.regime)

    @property
    def warmup(self) -> int:
        """First steps, that train on the source alone."""
        return self.regime_class.warmup(self)

    @property
    def smallest_batch(self) -> int:
        """Images that are needed at a time."""
        head = task_named(self.task).heads.resolve(self.head.name)
        return max(head.smallest_batch, 2 if self.head.mixup else 1)

    @property
    def teacher_learns(self) -> bool:
        """Whether there is a teacher that is more than the pretrained network."""
        return self.regime_class.adapts and not TEACHERS.resolve(self.teacher.name).pretrained

    @property
    def metric(self) -> str:
        """What is scored."""
        return self.evaluation.metric or next(iter(task_named(self.task).metrics))

    @property
    def deployed(self) -> Weights:
        """Which weights are saved at the end and judged: the teacher's where it averages or labels by itself."""
        return "teacher" if self.training.choose == "auto" and self.teacher_learns else self.training.deployed


def _usual_space(task: Task, values: Mapping[str, Any]) -> str:
    """The label space unless one is named: that of the task, or the data's own where no data set is a known one."""
    asked = [each for key in DATA for each in cast(Iterable[Any], _as_list(values.get(key) or []))]
    specs = [each.get("data") if isinstance(each, Mapping) else getattr(each, "data", each) for each in asked]
    named = [spec for spec in specs if isinstance(spec, str)]  # what is wrong with others is said later
    return FROM_SOURCE if named and name_their_classes(named, task.annotation) else task.label_space


def _check_head(task: Task, name: str) -> None:
    """Refuse a head that the task has not.

    Raises:
        ValueError: it is another task's, or unknown: the closest name of all.
    """
    if task.heads.knows(name):
        return
    known = [head for other in TASKS.shipped for head in task_named(other).heads.shipped]
    if name in known:
        raise ValueError(f"head {name} does not do {task.name}; set head to one of {', '.join(task.heads.shipped)}")
    raise ValueError(f"head.name is {name!r}{closest(name, known) or '.'} Known: {', '.join(known)}")


def task_of(values: Mapping[str, Any]) -> Any:
    """The name of the task that values ask for, which nothing has checked."""
    return values.get("task", RunConfig.model_fields["task"].default)


def checked(values: Mapping[str, Any]) -> RunConfig:
    """The checked configuration, with the one backbone rate and the first block of its method and backbone."""
    try:
        config = validated(RunConfig, values)
    except ValidationError as error:
        raise ConfigError(one_line(error, RunConfig)) from error
    rate = config.training.backbone_rate(config.method.name)
    training = config.training.model_copy(update={"backbone_lr": rate})
    method = with_first_block(config.method, config.backbone.name)
    return config.model_copy(update={"training": training, "method": method})
