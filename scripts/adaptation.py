"""What adapting to an unlabelled target gives, by regime and by teacher, and how steadily: docs/results.md.

Per method and seed, a model is trained on the source alone. From its weights go on, for as many further steps each:
source-only training; `self_training`, and `transda` (a warm-up round and one with pseudo-labels, half of the steps
each), both with each teacher. The teacher `base` is the pretrained backbone under the head of the student, which comes
from the source-only model and has learned to read that one's features. Sizes and rates are the preset's, whose rates
were chosen on validation images of the source (as scripts/compare.py does); all that go on have the same share of them,
and all draw rare classes of the source more often. Self-training balances the classes of its teacher; TransDA, as
published, balances none, and `--transda-balances` adds ours. Seed 0 is not among the seeds, because that balance was
found to be needed there; see docs/results.md. `--oracle` adds training on labelled images of the target domain, with
the same weights to begin with, rates and steps.

The target is judged on images that are not trained on: on all of them with the weights at the end, and on `--watch` of
them meanwhile. Those are for the figure of the curves, a thin line for each seed, and for what is read off it; nothing
is chosen by them. `best` is the highest point of a curve, an oracle, and `largest fall` what any seed lost from one
look to the next. Finished runs are kept: the script can be stopped and started.

    python scripts/adaptation.py night fog --methods lora soma --teachers self ema --points 10 --out runs/adaptation
    python scripts/adaptation.py night fog --regimes transda --teachers self --transda-balances null prior
    python scripts/adaptation.py camvid --out runs/adaptation data_root=../shared/data \
        backbone.name=../shared/weights/vit-tiny-in1k
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console

from minorkey.config import parse_overrides, resolve
from minorkey.evaluation.bootstrap import paired_t_interval
from minorkey.evaluation.scores import ScoreTable
from minorkey.plotting.canvas import DOMAIN_COLOURS, REFERENCE, canvas
from minorkey.plotting.style import save_figure
from minorkey.reporting.tables import method_name
from minorkey.runs.train import train
from minorkey.system.run_folder import RunFolder

REGIMES = {"self_training": "self-training", "transda": "TransDA"}  # as the figure calls them
TEACHERS = ("ema", "self", "adapter_ema", "base")
BALANCES = ("confidence", "prior", "null")  # null: none
TEACHER = "{{name: {name}, momentum: 0.95, ramp: false}}"
"""Some dozens of steps would end before an average of momentum 0.999 has moved; and its first values, of a trained
model, need no ramp."""


@dataclass(frozen=True)
class Setting:
    """A source and a target."""

    preset: str
    target: str  # trained on without labels
    judged: str
    source_steps: int
    steps: int  # of what goes on from there
    balance: str  # of self-training
    overrides: tuple[str, ...] = ()  # of all trainings


WORLD = (
    "source=world:clear",
    "evaluation.images=24",
    "world.train_count=300",
    "training.backbone_lr={soma: 0.003, lora: 0.009, full: 0.0009, default: 0.003}",  # benchmarks/results/world
    "self_training.masking={patch: 16}",
)
"""With the built-in backbone and head, and clear days of the town; an eighth of the crop is a patch."""

SETTINGS = {
    "night": Setting("demo", "world:night", "world:night", 100, 60, "prior", WORLD),
    "fog": Setting("demo", "world:fog", "world:fog", 100, 60, "prior", WORLD),
    "camvid": Setting(
        "airsim_to_camvid",
        "camvid:train",
        "camvid:val",
        300,
        100,
        "confidence",
        ("evaluation.images=51", "self_training.masking.hide=tokens"),
    ),
}


@dataclass(frozen=True)
class Way:
    """How a training goes on from the source-only weights."""

    regime: str = "supervised"
    teacher: str = ""
    balance: str = ""  # of pseudo-labels; where empty, self-training has the setting's and TransDA none
    labels: str = "source"  # of the supervised

    def __str__(self) -> str:
        if not self.teacher:
            return f"{self.labels}-only"
        return f"{self.regime}, {self.labeller}"

    @property
    def labeller(self) -> str:
        """Who labels the target, and how the labels are balanced where that is said; empty: no one."""
        return ", ".join(filter(None, (self.teacher, self.balance)))

    def overrides(self, setting: Setting) -> list[str]:
        """What it changes in the configuration of source-only training."""
        if not self.teacher:
            source = [] if self.labels == "source" else [f"source={setting.target}", "evaluation.source=false"]
            return [f"training.steps={setting.steps}", *source]
        rounds = 2 if self.regime == "transda" else 1
        default = {"self_training": setting.balance, "transda": "null"}[self.regime]
        return [
            f"regime={self.regime}",
            f"target={setting.target}",
            f"teacher={TEACHER.format(name=self.teacher)}",
            f"training.steps={setting.steps // rounds}",
            "transda.rounds=1",  # after the warm-up
            f"{self.regime}.balance={self.balance or default}",
        ]


SOURCE_ONLY = Way()
ORACLE = Way(labels="target")


@dataclass(frozen=True)
class Run:
    """A finished training."""

    scores: ScoreTable
    curve: np.ndarray  # (N, 3): step, and mIoU on the watched images in percent, of the student and as deployed

    def miou(self, role: str) -> float:
        """In percent, with the weights at the end, on the `source` or on the target, which counts as `unseen`."""
        return float(np.mean([100 * domain.score for domain in self.scores.domains if domain.role == role]))

    @property
    def largest_fall(self) -> float:
        """The most that is lost on the watched images from one look to the next, as deployed; 0: it never falls."""
        return float(max(0, -np.diff(self.curve[:, 2]).min(initial=0)))


Runs = dict[Way, list[Run]]  # one per seed


def read_curve(folder: RunFolder, deployed: str) -> np.ndarray:
    """What was watched, over all rounds; see `Run.curve`."""
    points: list[tuple[float, float, float]] = []
    for log in (*sorted(folder.path.glob("rounds/*/log.jsonl")), folder.log):
        before = points[-1][0] if points else 0
        for record in map(json.loads, log.read_text().splitlines()):
            if "watched" in record:
                mious = {who: 100 * float(np.mean([*found.values()])) for who, found in record["watched"].items()}
                points.append((before + record["step"], mious["student"], mious[deployed]))
    return np.array(points)


def trained(setting: Setting, out: Path, overrides: Sequence[str], rate: float = 1.0) -> Run:
    """A training with a share of the rates, finished if it is not."""
    # By the rule of mIoU that the tables of docs/archive.md were measured by.
    fixed = ["training.rare_classes=0.01", "training.snapshots=0", "evaluation.pictures=0", "evaluation.absent=skip"]
    given = [*fixed, *setting.overrides, *overrides]
    options = resolve(setting.preset, parse_overrides(given)).training
    rates = [f"training.lr={rate * options.lr}", f"training.backbone_lr={rate * options.backbone_lr}"]
    config = resolve(setting.preset, parse_overrides([*given, *rates]))
    scores = train(config, out, resume=True, console=Console(quiet=True))
    deployed = "teacher" if config.deployed == "teacher" else "student"
    return Run(scores, read_curve(RunFolder(out), deployed))


def ways(args: argparse.Namespace) -> list[Way]:
    """All ways to go on."""
    balances = {"self_training": args.balances, "transda": args.transda_balances}
    adapting = [
        Way(regime, teacher, balance)
        for regime in args.regimes
        for teacher in args.teachers
        for balance in balances[regime]
    ]
    return [SOURCE_ONLY, *([ORACLE] if args.oracle else []), *adapting]


def run_all(name: str, method: str, args: argparse.Namespace) -> Runs:
    """All trainings of a setting with a method."""
    setting = SETTINGS[name]
    runs: Runs = {way: [] for way in ways(args)}
    for seed in args.seeds:
        given = [f"method={method}", f"seed={seed}", *args.overrides]
        start = args.out / f"{setting.preset}-{method}-source-only-{seed}"
        first = trained(setting, start, [*given, f"training.steps={setting.source_steps}", "unseen=[]"])
        print(f"{name}, {method}, seed {seed}: source {first.miou('source'):.1f} to begin with", flush=True)
        watch = [f"training.watch={args.watch}", f"training.judge_every={max(1, setting.steps // args.points)}"]
        common = [*given, f"start_from={start}", "head_from=null", f"unseen={setting.judged}", *watch]
        for way in runs:
            out = args.out / name / f"{method}-{way}-{seed}".replace(", ", "-")
            run = trained(setting, out, [*common, *way.overrides(setting)], args.rate)
            runs[way].append(run)
            print(f"{name}, {method}, seed {seed}, {way}: target {run.miou('unseen'):.1f}", flush=True)
    return runs


def rows(runs: Runs) -> list[list[str]]:
    """A line per way: scores at the end, differences to source-only per seed, and what the watched curves show."""
    found = [
        ["", "source", "target", "per seed", "minus source-only", "watched: last", "best (oracle)", "largest fall"]
    ]
    found.append(["---"] + ["---:"] * 7)
    reference = [run.miou("unseen") for run in runs[SOURCE_ONLY]]
    for way, finished in runs.items():
        target = [run.miou("unseen") for run in finished]
        differences = np.subtract(target, reference)
        against = f"{differences.mean():+.1f}" if way != SOURCE_ONLY else ""
        if against and len(differences) > 1:
            interval = paired_t_interval(differences)
            against += f" [{interval.low:+.1f}, {interval.high:+.1f}]"
        source = "" if way == ORACLE else f"{np.mean([run.miou('source') for run in finished]):.1f}"
        watched = [run.curve[:, 2] for run in finished]
        ends = [np.mean([curve[-1] for curve in watched]), np.mean([curve.max() for curve in watched])]
        fall = max(run.largest_fall for run in finished)
        cells = [f"{value:.1f}" for value in (np.mean(target), *ends, fall)]
        found.append([str(way), source, cells[0], " / ".join(f"{value:.1f}" for value in target), against, *cells[1:]])
    return found


def curves(methods: Mapping[str, Runs]) -> Figure:
    """The watched mIoU of what would be deployed, over the steps: a row per method and a column per regime.

    Thin is each seed, thick their mean; grey is training on the source alone.
    """
    adapting = list(dict.fromkeys(way for runs in methods.values() for way in runs if way.teacher))
    labels = dict.fromkeys(way.labeller for way in adapting)
    colours = {"": REFERENCE, **dict(zip(labels, cycle(DOMAIN_COLOURS), strict=False))}
    regimes = list(dict.fromkeys(way.regime for way in adapting))
    figure, axes = canvas(len(methods), len(regimes), 3.6 * len(regimes), 2.8 * len(methods))
    lines = {}
    for plot, (method, regime) in zip(axes, product(methods, regimes), strict=True):
        runs = methods[method]
        for way in (SOURCE_ONLY, *(way for way in adapting if way.regime == regime)):
            colour = colours[way.labeller]
            for run in runs[way]:
                plot.plot(run.curve[:, 0], run.curve[:, 2], color=colour, linewidth=0.7, alpha=0.6)
            steps, _, deployed = np.mean([run.curve for run in runs[way]], axis=0).T
            lines[way.labeller or str(way)] = plot.plot(steps, deployed, marker=".", color=colour, linewidth=2)[0]
        plot.set_title(f"{method_name(method)}, {REGIMES[regime]}")
        plot.set_xlabel("step")
        plot.set_ylabel("mIoU on the target, %")
    figure.legend(list(lines.values()), list(lines), loc="outside upper center", ncols=len(lines), frameon=False)
    return figure


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="+", help=f"settings ({', '.join(SETTINGS)}), then overrides")
    parser.add_argument("--methods", nargs="+", default=["soma"], help="what trains in the backbone")
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), choices=REGIMES)
    parser.add_argument("--teachers", nargs="+", default=list(TEACHERS), choices=TEACHERS)
    parser.add_argument("--balances", nargs="+", default=[""], choices=BALANCES, help="of self-training")
    parser.add_argument("--transda-balances", nargs="+", default=[""], choices=BALANCES, help="of TransDA's rounds")
    parser.add_argument("--oracle", action="store_true", help="also train on labelled images of the target domain")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--rate", type=float, default=0.25, help="share of the preset's rates that goes on")
    parser.add_argument("--watch", type=int, default=17, help="target images that are judged on meanwhile")
    parser.add_argument("--points", type=int, default=5, help="of a curve")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptation"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_intermixed_args()
    args.settings = [argument for argument in args.arguments if "=" not in argument]
    args.overrides = [argument for argument in args.arguments if "=" in argument]
    if unknown := set(args.settings) - set(SETTINGS):
        parser.error(f"no setting {', '.join(sorted(unknown))}; known: {', '.join(SETTINGS)}")
    return args


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    for name in args.settings:
        methods = {method: run_all(name, method, args) for method in args.methods}
        save_figure(curves(methods), args.out / f"{name}-curves")
        for method, runs in methods.items():
            print(f"\n{name}, {method}: {SETTINGS[name].preset}, target {SETTINGS[name].target}\n")
            print("\n".join("| " + " | ".join(row) + " |" for row in rows(runs)) + "\n")
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, torch {torch.__version__}"
    print(f"rates x {args.rate:g}, seeds {args.seeds}, {machine}, {args.threads} thread(s)")


if __name__ == "__main__":
    main()
