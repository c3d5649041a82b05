"""What a user can say about the optimisation. Defaults are those of SoMA's recipes (arXiv 2412.04077)."""

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from minorkey.errors import ConfigError, unknown
from minorkey.system.bounds import MOST_PROCESSES, MOST_RUNS, Batch
from minorkey.system.precision import Asked
from minorkey.tasks.protocol import Weights

Beta = Annotated[float, Field(ge=0, lt=1)]
Milestone = Annotated[int, Field(gt=0)]

TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
"""Keys of `tracking.TRACKERS`."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class TrainingOptions(BaseModel):
    """AdamW, its schedules, and how often the run is logged and saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(40_000, ge=0, description="optimizer steps; 0 judges what the run begins with (head_from)")
    batch_size: Batch = Field(
        4, description="images per step, over all processes, as many of the target's; auto: see fit_batch"
    )
    accumulate: Batch = Field(1, description="batches whose gradients are summed up into one step")
    fit_batch: bool = Field(
        False,
        description="halve batch_size, and double accumulate, until a step fits into memory; what is found is saved in "
        "place of this. batch_size=auto is another word for it",
    )
    lr: float = Field(1e-4, gt=0, description="learning rate of the head")
    backbone_lr: float | dict[str, float] = Field(
        5e-5, description="learning rate of what trains in the backbone; one number, or one per method and a `default`"
    )
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    schedule: Literal["poly", "cosine", "constant", "steps"] = "poly"
    power: float = Field(0.9, gt=0, description="exponent of the poly schedule")
    horizon: int | None = Field(
        None, gt=0, description="step at which poly and cosine schedules would end; default: with the training"
    )
    decay_from: int = Field(0, ge=0, description="step at which poly and cosine schedules begin to fall")
    milestones: list[Milestone] = Field(default=[], description="'steps' schedule: the rate falls to a tenth at each")
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.05, ge=0)
    backbone_weight_decay: float | None = Field(None, ge=0, description="of the backbone; default: weight_decay")
    weight_decay_min: float = Field(1e-5, ge=0, description="where annealing weight decay ends")
    anneal_weight_decay: bool | None = Field(None, description="default: as the method's own recipe has it")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient; default: no clipping")
    weight_ema_from: int | None = Field(None, ge=0, description="step from which an average of the weights is kept")
    average_momentum: float = Field(
        0.9998, ge=0, lt=1, description="share of that average that a step keeps, as teacher.momentum is"
    )
    choose: Weights | Literal["auto"] = Field(
        "auto",
        description="weights to deploy; auto: the teacher's where there is one, the average where one is kept, else "
        "the last; best_source: judged on validation images of the source; oracle: judged on the unseen domains, an "
        "upper bound",
    )
    judge_every: int = Field(1000, gt=0, description="steps between two judgements (best_source, oracle, watch)")
    patience: int | None = Field(
        None,
        gt=0,
        description="end early: after so many judgements on validation images of the source without a better one "
        "(choose is then best_source); default: all steps are taken",
    )
    watch: int = Field(
        0,
        ge=0,
        description="images of each unseen domain that student and teacher are judged on meanwhile, for the log",
    )
    shard: bool = Field(
        False, description="spread parameters and optimizer state over the processes, for what fits no single GPU"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute the backbone's blocks again in the backward pass: less memory, more time"
    )
    compile: bool = Field(
        False,
        description="compile the network as one graph (torch.compile): minutes before the first step",
    )
    cuda_graphs: bool = Field(
        True,
        description="on one GPU of CUDA, replay the passes of backbone and decoders in place of launching them kernel "
        "by kernel",
    )
    autotune: bool = Field(
        False, description="let cuDNN time its convolutions and take the fastest; two runs then differ by rounding"
    )
    rare_classes: float | None = Field(
        None, gt=0, description="temperature of rare-class sampling of the source, 0.01 in DAFormer; default: off"
    )
    skip_broken: bool = Field(False, description="leave out target images that cannot be read, and say so")
    snapshots: int = Field(
        6, ge=0, le=MOST_RUNS, description="times at which pseudo-labels of a few target images are kept, at most"
    )
    precision: Asked = Field(
        "auto", description="auto: bf16 on GPUs that have it, else fp16 on CUDA, fp32 elsewhere; tf32 on NVIDIA's"
    )
    device: Literal["auto", "cpu"] = "auto"
    workers: Annotated[int, Field(ge=0, le=MOST_PROCESSES)] | Literal["auto"] = Field(
        "auto",
        description="processes that load images, for each process that trains; 0 loads in that one; auto: as many as "
        "there are cores to spare beside a GPU, and 0 on a CPU; batches do not depend on it",
    )
    log_every: int = Field(10, gt=0)
    track: Annotated[list[TrackerName], BeforeValidator(_as_list)] = Field(
        [], description="trackers that also get the log, scores and pictures: tensorboard, wandb, trackio, mlflow"
    )
    checkpoint_every: int = Field(500, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _former_momentum(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "weight_ema_momentum" in values:
            raise ValueError("weight_ema_momentum is now average_momentum, the share that is kept: 1 less it")
        return values

    @model_validator(mode="after")
    def _rates_are_positive(self) -> Self:
        rates = self.backbone_lr.values() if isinstance(self.backbone_lr, dict) else [self.backbone_lr]
        if not all(rate > 0 for rate in rates):
            raise ValueError("backbone_lr must be above 0")
        return self

    @model_validator(mode="after")
    def _milestones_are_of_steps(self) -> Self:
        if self.schedule == "steps" and not self.milestones:
            raise ValueError("schedule steps falls at training.milestones, and there are none; give some, or constant")
        if self.schedule != "steps" and self.milestones:
            raise ValueError(
                f"milestones are of schedule steps, and training.schedule is {self.schedule}; set it to steps, or "
                "training.milestones=[]"
            )
        return self

    @model_validator(mode="after")
    def _average_is_kept(self) -> Self:
        if self.choose == "ema" and not self._averages:
            raise ValueError("no average is kept; set training.weight_ema_from to a step of the training")
        return self

    @model_validator(mode="after")
    def _patience_is_of_the_source(self) -> Self:
        if self.patience is not None and self.choose not in ("auto", "best_source"):
            raise ValueError(
                f"patience ends a training by validation images of the source, but choose is {self.choose}; set "
                "training.choose=best_source, or leave training.patience out"
            )
        return self

    @property
    def _averages(self) -> bool:
        return self.weight_ema_from is not None and self.weight_ema_from <= self.steps

    @property
    def deployed(self) -> Weights:
        """Which weights are saved at the end and judged, where no teacher is asked."""
        if self.choose != "auto":
            return self.choose
        if self.patience is not None:
            return "best_source"
        return "ema" if self._averages else "last"

    @property
    def snapshot_every(self) -> int:
        """Steps between two pictures of pseudo-labels."""
        return ceil(self.steps / max(1, self.snapshots))

    def backbone_rate(self, method: str) -> float:
        """Learning rate of the backbone's trained tensors under `method`.

        Raises:
            ConfigError: the rates are given per method, and neither this one nor `default` is among them.
        """
        if not isinstance(self.backbone_lr, dict):
            return self.backbone_lr
        if method not in self.backbone_lr and "default" not in self.backbone_lr:
            raise ConfigError(unknown("method in training.backbone_lr", method, self.backbone_lr))
        return self.backbone_lr.get(method, self.backbone_lr.get("default", 0.0))
