"""What a user can say about the network: which backbone, which head."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Triple = tuple[float, float, float]


class BackboneOptions(BaseModel):
    """A pretrained backbone and the changes made to it at load time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("builtin", description="'builtin', a local folder, or a hub id such as facebook/dinov2-large")
    revision: str | None = Field(None, description="branch, tag or commit of a hub id")
    patch_size: int | None = Field(None, gt=0, description="resize the patch kernel to this many pixels")
    image_size: int | None = Field(None, gt=0, description="resize the position grid to this image side, in pixels")
    out_blocks: list[int] | None = Field(
        None,
        description="1-based blocks (or stages) whose features feed the head; default: 1/3, 1/2, 2/3, 1 of the depth",
    )
    mean: Triple | None = Field(None, description="input mean per channel; default: the backbone's own")
    std: Triple | None = Field(None, description="input standard deviation per channel; default: the backbone's own")


class HeadOptions(BaseModel):
    """The dense head on top of the backbone's features."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["linear", "semfpn", "upernet"] = "semfpn"
    channels: int = Field(128, gt=0, description="width of the head (unused by 'linear')")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the classifier (linear, semfpn)")
