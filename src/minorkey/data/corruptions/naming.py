"""How a corrupted domain is written, `camvid:val+night@3`, and read back."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minorkey.data.corruptions.spec import CATALOG, CORRUPTIONS, SEVERITIES
from minorkey.errors import ConfigError
from minorkey.system.outside import OUTSIDE, outside_faults

DEFAULT_SEVERITY = 3

_NAMES = "|".join([*CORRUPTIONS, OUTSIDE.pattern])
CORRUPTED = re.compile(rf"(?P<domain>.+)\+(?P<corruption>{_NAMES})@(?P<severity>[1-5])")
"""A domain under a corruption, as scores name it."""


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption and its severity; as text, `night@3`."""

    name: str
    severity: int = DEFAULT_SEVERITY

    def __post_init__(self) -> None:
        _check(self.name, str(self.severity))

    @classmethod
    def parse(cls, text: str) -> "Corruption":
        """Read `NAME@SEVERITY`; the severity is 3 where it is left out.

        Raises:
            ConfigError: unknown name, or a severity other than 1, 2, 3, 4 or 5.
        """
        name, _, severity = _with_severity(text).partition("@")
        _check(name, severity)
        return cls(name, int(severity))

    def __str__(self) -> str:
        return f"{self.name}@{self.severity}"

    def apply(self, image: np.ndarray, key: str) -> np.ndarray:
        """Corrupt an image (H, W, 3) uint8; the image itself is left alone.

        The result depends on the image, the corruption and the key of the sample only. What is random is drawn from the
        same numbers at every severity; rain, snow and shot noise take more of them as they grow stronger, and fall
        elsewhere then.
        """
        digest = hashlib.sha256(f"{self.name}/{key}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        with outside_faults():
            return CATALOG.resolve(self.name).apply(image, self.severity, rng)


def split_corruption(spec: str) -> tuple[str, str | None]:
    """Part a data set from the corruption it is seen under.

    `camvid:val+night@3` gives `("camvid:val", "night@3")`; a severity left out is filled in. What has no
    corruption is given back whole: `("camvid:val", None)`. So is a path with a plus in it, if it exists or if the
    plus is not in its last part (`a+b/c`, `a+b:val`). A corruption of one's own is told from a split by its severity:
    `camvid:val+package.module:attribute@3`.

    Of several, one after the other, all are given: `camvid:val+rain+night` is `("camvid:val", "rain@3+night@3")`.
    """
    base, found = _split_last(spec)
    while found is not None:
        earlier, corruption = _split_last(base)
        if corruption is None or not re.fullmatch(_NAMES, corruption.partition("@")[0]):
            break
        base, found = earlier, f"{corruption}+{found}"
    return base, found


def _split_last(spec: str) -> tuple[str, str | None]:
    base, plus, text = spec.rpartition("+")
    if plus and OUTSIDE.fullmatch(text.rpartition("@")[0]):
        return base, text
    if not plus or any(mark in text for mark in ":/\\") or Path(spec).exists():
        return spec, None
    return base, _with_severity(text)


def clean_domain(domain: str) -> str:
    """The domain without the corruptions that it is seen under, if any.

    >>> clean_domain("camvid+night@3"), clean_domain("camvid+rain@2+night@3"), clean_domain("day+rain")
    ('camvid', 'camvid', 'day+rain')
    """
    while found := CORRUPTED.fullmatch(domain):
        domain = found["domain"]
    return domain


def robustness_domains(
    base: str, names: Sequence[str] | None = None, severities: Sequence[int] = SEVERITIES
) -> list[str]:
    """The corrupted domains of a data set, e.g. `camvid:val+fog@1`, one corruption after the other.

    Args:
        base: the data set, e.g. `camvid:val`.
        names: corruptions; all of the table where `None`.
        severities: 1 (mild) to 5 (strong).

    Raises:
        ConfigError: an unknown corruption or severity.
    """
    wanted = CORRUPTIONS if names is None else names
    return [f"{base}+{Corruption(name, severity)}" for name in wanted for severity in severities]


def _with_severity(text: str) -> str:
    return text if "@" in text else f"{text}@{DEFAULT_SEVERITY}"


def _check(name: str, severity: str) -> None:
    CATALOG.resolve(name)
    if severity not in map(str, SEVERITIES):
        raise ConfigError(
            f"severity '{severity}' of '{name}'; expected 1 (mild) to 5 (strong), e.g. {name}@{DEFAULT_SEVERITY}; "
            "the data set without a corruption is its clean form"
        )
