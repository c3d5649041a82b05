"""What is trained on and judged in each comparison: a source, unseen domains, a network, a budget.

A run takes one to three minutes of one core. Sizes were settled by the frozen backbone alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from comparing.records import UNDER
from comparing.ways import COMMON, FROZEN, WAYS

from minorkey.config import RunConfig, parse_overrides, resolve
from minorkey.runs.leave_one_out import Fold, folds_of
from minorkey.world import DOMAINS

SHARED = "SHARED"
"""In an override: the folder of real images and weights."""

VIT_TINY = (
    "data_root=SHARED/data",
    "backbone.name=SHARED/weights/vit-tiny-in1k",
    "backbone.mean=[0.5, 0.5, 0.5]",
    "backbone.std=[0.5, 0.5, 0.5]",
)
LOOKS = ("", "+night@3", "+fog@3", "+rain@3", "+snow@3")
"""CamVid as it is, and under corruptions (docs/corruptions.md)."""

SUBURB = tuple(f"world:{name}" for name in DOMAINS if name.startswith("suburb-") and name != "suburb-clear")

RULE = "evaluation.absent=skip"
"""How mIoU treats a class that is only predicted: as when the first runs of these settings were judged."""

ROOM = Path(__file__).parent


@dataclass(frozen=True)
class Setting:
    """A comparison; what is not said here is the preset's."""

    name: str
    title: str
    preset: str  # of minorkey, or a YAML file
    overrides: tuple[str, ...] = ()
    ways: tuple[str, ...] = COMMON
    seeds: tuple[int, ...] = (0, 1, 2)
    rate_seeds: tuple[int, ...] = (100,)  # none of those that are reported
    leave_one_out: bool = False  # each domain in turn is unseen; else the preset's unseen domains are
    rate_folds: tuple[int, ...] = (0,)  # those, by their place, that choose rates
    rate_under: tuple[str, ...] = ()  # corruptions under which the source counts besides, where rates are chosen
    head_rate: float | None = None  # where the backbone trains too; None: the preset's
    frozen_rates: tuple[float, ...] = ()  # of a head that trains alone; none: the same as beside a backbone
    of_seed: tuple[str, ...] = ()  # keys that are given the seed of a run

    def at(self, shared: Path) -> Self:
        """The setting with that folder of real images and weights."""
        return replace(self, overrides=tuple(each.replace(SHARED, str(shared)) for each in self.overrides))

    def config(self, overrides: Sequence[str] = ()) -> RunConfig:
        """What all runs have in common."""
        return resolve(self.preset, parse_overrides([*self.overrides, *overrides]))

    def folds(self, config: RunConfig) -> list[Fold]:
        """What is trained on and judged, once or in turn."""
        return folds_of(config) if self.leave_one_out else [Fold(self.name, config)]

    def grid(self, way: str, config: RunConfig) -> tuple[float, ...]:
        """The rates that a way may have, before the grid goes on."""
        if way != FROZEN:
            return WAYS[way].rates
        return self.frozen_rates or (self.rate_of_head(config),)

    def rate_of_head(self, config: RunConfig) -> float:
        """The head's rate, where the backbone trains too; `config` is what all runs have in common."""
        return self.head_rate or config.training.lr

    def equal(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What its runs have in common, beside the pretrained weights, as their results have it."""
        config, file = self.config(overrides), Path(self.preset)
        return {
            "steps": config.training.steps,
            "batch": config.training.batch_size,
            "crop": list(config.transform.crop),
            "overrides": sorted(overrides),
            "head_rate": self.rate_of_head(config),
            UNDER: list(self.rate_under),
            **({"preset": sha256(file.read_bytes()).hexdigest()[:12]} if file.suffix == ".yaml" else {}),
        }


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            name="pacs",
            title="PACS",
            preset="pacs",
            overrides=(
                *VIT_TINY, "transform.crop=[112, 112]", "training.batch_size=24", "training.steps=200",
                "training.choose=last",
            ),
            ways=(*COMMON, "dora", "soma, all blocks"),
            leave_one_out=True,
            rate_folds=(0, 3),  # art_painting and sketch
            head_rate=1e-3,
            frozen_rates=(1e-3, 3e-3, 1e-2),
        ),
        Setting(
            name="world",
            title="world",
            preset="demo",
            overrides=(RULE,),
            ways=(*COMMON, "soma, all blocks"),
            seeds=(0, 1, 2, 3, 4),
            of_seed=("world.seed",),  # scenes of its own
        ),
        Setting(
            name="suburb",
            title="suburb",
            preset="demo",
            overrides=("source=world:suburb-clear", "unseen=[" + ", ".join(SUBURB) + "]", "training.steps=150", RULE),
            of_seed=("world.seed",),
        ),
        Setting(
            name="camvid",
            title="CamVid",
            preset="airsim_to_camvid",
            overrides=(
                *VIT_TINY,
                "unseen=[" + ", ".join(f'"camvid:train,val{look}"' for look in LOOKS) + "]",
                "transform.crop=[160, 160]", "training.batch_size=8", "training.steps=150",
                "evaluation={window: null, stride: null, resize: 320, images: 80}", RULE,
            ),
            seeds=(0, 1, 2, 3, 4),
        ),
        Setting(
            name="nuclei",
            title="nuclei",
            preset=str(ROOM / "nuclei.yaml"),
            overrides=(
                *VIT_TINY,
                "source=SHARED/data/nuclei/fluorescence",
                'unseen=["SHARED/data/nuclei/stained:train,val", "SHARED/data/nuclei/brightfield:train,val"]', RULE,
            ),
            seeds=(0, 1, 2, 3, 4),
        ),
    )
}  # fmt: skip
