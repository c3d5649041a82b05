"""What a deployed file says of itself: all that is needed to feed it, to read it and to judge it as its run was."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from minorkey.config import RunConfig
from minorkey.errors import DataError
from minorkey.labels.space import held
from minorkey.models.options import PerChannel
from minorkey.system.reading import json_of, reading
from minorkey.tasks.deployed import Deployed, Scale
from minorkey.tasks.predictor import Predictor
from minorkey.tasks.protocol import Weights

KEY = "minorkey"
"""Of the metadata in a file, a JSON text."""

SUFFIX = ".onnx"

Size = tuple[PositiveInt, PositiveInt]
Computed = Literal["fp32", "fp16", "int8"]

JUDGED_BY = ("label_space", "source", "unseen", "evaluation", "world", "pixels", "seed")
"""Keys of a configuration that judging a file depends on, beside its task and its crop."""


class DeployedInfo(BaseModel):
    """The metadata of a deployed file; `metadata.json` beside it has the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minorkey: str = Field(description="version that wrote it")
    run: str = Field(description="name of the run's folder")
    task: str
    method: str
    classes: list[str] = Field(min_length=1, description="by their number")
    colours: list[tuple[int, int, int]]
    base: str = Field(description="the pretrained backbone")
    base_sha256: str = Field(description="of its weights")
    channels: str = Field(description="their order: RGB, or as the images of the run have them")
    preprocess: bool = Field(description="images go in as uint8 (B, H, W, C); else as float32 (B, C, H, W), normalised")
    mean: PerChannel = Field(description="of values in 0 to 1, subtracted first")
    std: PerChannel = Field(description="which they are then divided by")
    size: Size | None = Field(description="height and width that every image has to have; null: any")
    multiple: PositiveInt = Field(description="that the sides of images are of; they are filled up with 0 (the mean)")
    resize: PositiveInt | None = Field(description="long side that images are brought to first; null: none")
    input_size: Size | None = Field(description="height and width that images are resized to, whatever their sides")
    outputs: dict[str, str]
    scale: Scale = Field(description="full: scores of pixels have the image's size; coarse: the network's own")
    by_masks: bool = Field(description="scores are averaged as they are, not as logits")
    opset: PositiveInt | None = None
    computed: Computed = "fp32"
    weights: Weights = Field(description="which of the training they are")
    window_batch: PositiveInt = 8
    crop: Size
    judged_by: dict[str, Any] = Field(description="configuration of the run, as far as judging goes by it")

    @field_validator("judged_by")
    @classmethod
    def _only_these(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A file says what to judge by, and nothing of this machine, as where data lie."""
        if other := sorted(values.keys() - set(JUDGED_BY)):
            raise ValueError(f"'{other[0]}' is none of {', '.join(JUDGED_BY)}")
        return values

    def text(self) -> str:
        """As JSON."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1)


def read_info(text: str, file: Path) -> DeployedInfo:
    """The metadata of a deployed file, whoever wrote it.

    Raises:
        DataError: they are no metadata of minorkey's.
    """
    with reading(f"the metadata of '{file}'", "export the run again", DataError):
        return DeployedInfo.model_validate(json_of(text))


def info_of(
    predictor: Predictor,
    config: RunConfig,
    deployed: Deployed,
    *,
    run: str,
    base: str,
    base_sha256: str,
    size: Size | None,
    **written: Any,
) -> DeployedInfo:
    """What is to be known of a run's model in a file.

    Args:
        predictor: of the run.
        config: of the run.
        deployed: what went into the graph.
        run: its name.
        base: name of the pretrained backbone, that tells nothing of this machine.
        base_sha256: of its weights.
        size: that images have to have.
        **written: how the file was written.
    """
    from minorkey import __version__

    whole = config.model_copy(update={"label_space": held(config.label_space)})
    values = whole.model_dump(mode="json", include=set(JUDGED_BY))
    values["source"] = [{"data": _bare(source.data)} for source in config.source]
    values["unseen"] = [name for name in config.unseen if _bare(name) == name]
    if window := predictor.protocol.window:  # also where it is not asked for: the head takes nothing else
        values["evaluation"] |= {"window": list(window), "stride": predictor.protocol.stride}
    return DeployedInfo(
        minorkey=__version__,
        run=run,
        task=config.task,
        method=config.method.name,
        classes=list(predictor.space.classes),
        colours=predictor.space.colours.tolist(),
        base=base,
        base_sha256=base_sha256,
        channels="RGB" if len(predictor.mean) == 3 else f"{len(predictor.mean)}, as the images of the run have them",
        mean=predictor.mean,
        std=predictor.std,
        size=size,
        multiple=deployed.multiple,
        resize=predictor.protocol.resize,
        input_size=predictor.protocol.input_size,
        outputs=dict(deployed.outputs),
        by_masks=deployed.by_masks,
        weights=config.deployed,
        window_batch=config.evaluation.batch_size,
        crop=config.transform.crop,
        judged_by=values,
        **written,
    )


def _bare(data_set: str) -> str:
    """A data set's name without the folders that it lies in, which are of this machine."""
    return data_set.replace("\\", "/").rpartition("/")[2] or data_set
