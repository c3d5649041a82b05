"""What a user can say about the network: which backbone, which head."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    field_validator,
    model_validator,
)

from minorkey.catalog import Catalog
from minorkey.data.pixels import RGB, Channels
from minorkey.errors import ModelError
from minorkey.system.bounds import MOST_BOXES, MOST_RUNS, MOST_SIDE, Side

PerChannel = Annotated[tuple[float, ...], Field(min_length=1)]

LossTerm = Literal["cross_entropy", "focal", "dice"]
"""What a head of logits per pixel can learn by; see `heads/segmentation/pixel_loss.py`."""

LOSS_OPTIONS = ("loss", "focal_gamma", "class_weights")
"""Options of a head about its loss."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


OWN_BACKBONES: Catalog[Callable[[], Any]] = Catalog(
    "backbone", {}, "a class or function that makes an nn.Module, without arguments", callable
)


class BackboneOptions(BaseModel):
    """A pretrained backbone and the changes made to it at load time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        "builtin",
        description="'builtin', a row of docs/backbones.md such as dinov2-large, a local folder, a hub id, or what "
        "makes your own nn.Module as package.module:attribute",
    )
    revision: str | None = Field(None, description="branch, tag or commit of a hub id")
    patch_size: Side | None = Field(None, description="resize the patch kernel to this many pixels")
    image_size: Side | None = Field(None, description="resize the position grid to this image side, in pixels")
    out_blocks: list[int] | None = Field(
        None,
        description="1-based blocks (or stages) whose features feed the head; default: 1/3, 1/2, 2/3, 1 of the depth",
    )
    channels: Channels | None = Field(
        None, description="channels that it takes, or how many; default: those of the data, as a rule red, green, blue"
    )
    mean: PerChannel | None = Field(
        None, description="input mean per channel; default: the backbone's own, of other channels than RGB the source's"
    )
    std: PerChannel | None = Field(None, description="input standard deviation per channel; default: as mean")

    @field_validator("name")
    @classmethod
    def _own_one_is_there(cls, name: str) -> str:
        return OWN_BACKBONES.checked(name) if OWN_BACKBONES.knows(name) else name

    @model_validator(mode="after")
    def _for_each_channel(self) -> Self:
        count = len(self.channels or RGB)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != count and self.channels is not None:
                raise ValueError(f"{name} has {len(values)} numbers for {count} channels; give one for each")
        return self


class HeadOptions(BaseModel):
    """The head on top of the backbone's features."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def of_loss(self) -> list[str]:
        """The options about its loss that are not as they are by default."""
        return [name for name in LOSS_OPTIONS if getattr(self, name) != type(self).model_fields[name].default]

    def weights_of(self, num_labels: int) -> list[float] | None:
        """The numbers of `class_weights`, one for each class; None: all classes count alike.

        Raises:
            ModelError: they are not one for each.
        """
        weights = self.class_weights
        assert not isinstance(weights, str), "a run begins with numbers (`runs/settled.py`)"
        if weights is not None and len(weights) != num_labels:
            raise ModelError(
                f"head.class_weights has {len(weights)} numbers for {num_labels} classes; give one for each"
            )
        return weights

    name: str = Field("semfpn", description="one of the task's heads, or your own as package.module:attribute")
    channels: int | None = Field(
        None, gt=0, le=MOST_SIDE, description="width of the head; default: 128 for linear, semfpn and upernet, else 256"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout before the classifier (linear, semfpn, segformer, pooled)"
    )
    queries: int | None = Field(
        None,
        gt=0,
        le=MOST_BOXES,
        description="masks or boxes that are proposed per image; default: 100 for mask2former, eomt and atss, "
        "300 for the other detectors",
    )
    points: int = Field(12544, gt=0, le=2**24, description="pixels at which a mask is compared (mask2former, eomt)")
    encoder_layers: int | None = Field(
        None,
        gt=0,
        le=MOST_RUNS,
        description="layers of the encoder; default: 6 for mask2former (its pixel decoder) and deformable_detr, 1 for "
        "rt_detr_v2 and d_fine (on the coarsest features)",
    )
    decoder_layers: int | None = Field(
        None,
        gt=0,
        le=MOST_RUNS,
        description="layers of the query decoder; default: 9 for mask2former, 6 for detection. Of atss, the "
        "convolutions under each output; default: 4",
    )
    query_blocks: int | None = Field(
        None,
        gt=0,
        le=MOST_RUNS,
        description="last blocks of the backbone that see the queries (eomt); default: 3 of 12, 4 of 24",
    )
    pool: Literal["class", "mean", "both"] | None = Field(
        None,
        description="what an image is classified by: its class token, the mean of its other tokens, or both; default: "
        "both where the backbone has a class token, else mean",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a label that all classes have (classification)"
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="images are blended by shares of a Beta(a, a) of this a (classification); 0: they are not",
    )
    class_weights: list[PositiveFloat] | Literal["inverse_frequency"] | None = Field(
        None,
        description="of the losses on pixels or images of each class, in the order of the label space, or "
        "inverse_frequency: by the labels of the source, their mean 1 (heads of logits per pixel, classification)",
    )
    loss: Annotated[list[LossTerm], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        ["cross_entropy"],
        description="terms that are summed up: cross_entropy, focal, dice (heads of logits per pixel: all but "
        "mask2former and eomt)",
    )
    focal_gamma: float = Field(2.0, ge=0, description="exponent of the focal term; 0 is the cross-entropy")
    levels: int | None = Field(
        None, ge=2, le=4, description="last feature maps that atss reads, the coarsest at stride 32; default: 3"
    )
    anchor: float | None = Field(
        None, gt=0, description="side of an anchor of atss, in strides of its feature map; default: 8"
    )
    auxiliary: Literal["atss"] | None = Field(
        None,
        description="a dense detector that learns on the encoder's features too and is dropped after training, as in "
        "Co-DETR (detection)",
    )
