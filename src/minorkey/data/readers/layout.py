"""Where the files of a data set lie, whatever is annotated in them: patterns, splits, domains."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from minorkey.data.pixels import Channels, PixelOptions, Ranges
from minorkey.data.readers.pattern import wrong_fields
from minorkey.data.readers.reader import Role
from minorkey.data.readers.text import composed

BRIGHTEST = 256
"""No image has a mean luma of it: it is a limit that leaves out none."""

DEFAULT_SPLITS: dict[Role, tuple[str, ...]] = {
    "source": ("train", "all"),
    "target": ("train", "all"),
    "validation": ("val", "test"),
    "unseen": ("val", "test"),
}
"""The splits a data set is trained and judged on unless said, in order of preference."""


class Layout(BaseModel):
    """How the images of a data set are named, and what its splits and domains are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needed: ClassVar[Sequence[str]] = ("key",)  # fields of `images`

    name: str | None = None  # the domain its samples carry; the name of the folder where absent
    folder: str | None = None  # where it lies in data_root; a folder of its name where absent
    images: str = "images/{split}/{key}.*"  # see pattern.py
    splits: dict[str, str] = Field(default={})  # split -> its folder; any folder where absent
    unlabelled: list[str] = Field(default=[])  # splits that are published without labels
    domains: dict[str, str] = Field(default={})  # what is a domain of its own -> its folder
    # What is a domain of its own by the mean luma of its images (0 to 255): from the first number, below the second.
    brightness: dict[str, tuple[float, float]] = Field(default={})
    skips: dict[str, str] = Field(default={})  # key of a pair that is known to be unusable -> why
    # What the values of its images mean where they are not 8-bit RGB: see data/pixels.py.
    channels: Channels | None = None
    range: Ranges | None = None
    shown: tuple[str, str, str] | None = None

    @field_validator("splits", "domains", mode="before")
    @classmethod
    def _own_folders(cls, value: object) -> object:
        """A list of what lies in folders of its names."""
        return {name: name for name in value} if isinstance(value, list) else value

    @field_validator("splits", "domains", "skips")
    @classmethod
    def _composed(cls, value: dict[str, str]) -> dict[str, str]:
        return {composed(name): composed(text) for name, text in value.items()}

    @field_validator("brightness")
    @classmethod
    def _in_order(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if not 0 <= low < high <= BRIGHTEST:
                raise ValueError(f"{name} is [{low:g}, {high:g}]; expected [from, below], 0 <= from < below <= 256")
        return value

    @model_validator(mode="after")
    def _sound_images(self) -> "Layout":
        if not self.by_pattern:
            return self
        if wrong := wrong_fields(self.images, self.needed):
            raise ValueError(wrong)
        if ("{domain}" in self.images) != bool(self.domains):
            raise ValueError("`domains` and a field {domain} in `images` go together")
        return self

    @model_validator(mode="after")
    def _sound_pixels(self) -> "Layout":
        assert self.pixels
        return self

    @property
    def pixels(self) -> PixelOptions:
        """What the values of its images mean."""
        return PixelOptions(channels=self.channels, range=self.range, shown=self.shown)

    @property
    def beside(self) -> str | None:
        """The pattern of the files that tell of its images, or of the lists of its splits; None: there are none."""
        return None

    @property
    def by_pattern(self) -> bool:
        """Whether `images` says which files are its images."""
        return True

    def known(self, split: str, place: str) -> dict[str, str]:
        """The fields of its patterns that are known of a split of one of its domains (`place`, "" for none)."""
        return {"split": self.splits.get(split, split), "domain": self.domains.get(place, place)}

    def default_split(self, role: Role) -> str | None:
        """The split that a role takes unless said, labelled where it needs labels; None if there is none."""
        choices = DEFAULT_SPLITS[role]
        if not self.splits:
            return choices[0]
        left_out = () if role == "target" else self.unlabelled
        return next((name for name in choices if name in self.splits and name not in left_out), None)
