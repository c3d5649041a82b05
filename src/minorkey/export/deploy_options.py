"""How a deployed file is written."""

import re
from dataclasses import dataclass

from minorkey.errors import ConfigError
from minorkey.tasks.deployed import Scale, Size

LOWEST, HIGHEST, OPSET = 18, 23, 18
"""Opsets of ONNX: what torch writes, and what most runtimes of today read."""


@dataclass(frozen=True, kw_only=True)
class DeployOptions:
    """How a deployed file is written.

    Args:
        half: weights and arithmetic in float16.
        opset: version of ONNX's operators, 18 to 23.
        size: height and width that images have; None: any where the network can, else that of the run's images.
        preprocess: the graph takes bytes and normalises them itself.
        coarse: scores of pixels as the network has them, a fraction of the image's size.
        gathers: write sampling (`GridSample`) as gathers, for runtimes that get it wrong.
        int8: weights and arithmetic in 8 bits, with ranges from the images of `calibrate`.
        calibrate: data sets, from several domains.
        images: of each of these, evenly spaced.
    """

    half: bool = False
    opset: int = OPSET
    size: Size | None = None
    preprocess: bool = False
    coarse: bool = False
    gathers: bool = False
    int8: bool = False
    calibrate: tuple[str, ...] = ()
    images: int = 32

    @property
    def scale(self) -> Scale:
        """Of the scores of pixels."""
        return "coarse" if self.coarse else "full"

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            ConfigError: says which options, and what to do.
        """
        if not LOWEST <= self.opset <= HIGHEST:
            raise ConfigError(f"--opset {self.opset} is none that is written here; expected {LOWEST} to {HIGHEST}")
        if self.half and self.int8:
            raise ConfigError("--half and --int8 are two precisions; give one of them")
        if self.int8 and not self.calibrate:
            raise ConfigError(
                "--int8 needs images to measure ranges on; give --calibrate DATASET, of several domains, e.g. "
                "--calibrate world:clear,world:night"
            )
        if self.calibrate and not self.int8:
            raise ConfigError("--calibrate is for --int8; give both or neither")
        if self.images < 1:
            raise ConfigError(f"{self.images} images to calibrate on are none; give 1 or more of each data set")

    def used(self) -> list[str]:
        """Options, by their names on the command line, that are not at their defaults."""
        defaults = DeployOptions()
        return [f"--{name}" for name in vars(defaults) if getattr(self, name) != getattr(defaults, name)]


def parse_size(text: str) -> Size:
    """`512x1024`, height and width, as (512, 1024).

    Raises:
        ConfigError: it is none.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise ConfigError(f"--size {text} is none; expected HEIGHTxWIDTH, e.g. 512x1024")
    return int(found[1]), int(found[2])
