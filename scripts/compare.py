"""Ways to adapt against one another on domains never seen: paired seeds, equal budgets, a rate for each way.

First the rate of every way is chosen, on validation images of the source, with seeds (and, in the built-in world,
scenes) that are not reported; a grid whose best rate is at an edge goes on. The head's rate is the same for all. No
unseen domain is opened before all rates of a setting are chosen. Then all ways train with the same seeds, hence the
same heads, batches and crops. Every run is one small JSON below RESULTS, written when it ends: the script may be
stopped and started, with another number of processes or on another machine, and what is there is not run again.

    python scripts/compare.py pacs world camvid nuclei --processes 2
    python scripts/compare.py pacs world camvid nuclei --table
    python scripts/compare.py pacs world camvid nuclei --write docs/does-it-help.md

Whether the rates decide is shown, when all else is done, by runs at the rates that were not chosen: `--curve-seeds 0 1`
adds them to the figure. `--tolerance 0.5` runs the other seeds at the lowest rate that is half a point worse on the
source at most, besides, and says what that rate gives in place of the best one.

A preset is compared in the same way, and its rates are chosen by the first of these alone:

    python scripts/compare.py demo --ways full lora soma --seeds --results runs/compared
    python scripts/compare.py demo --ways full lora soma --results runs/compared
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from comparing.curves import curves
from comparing.outcome import Outcome
from comparing.page import write_blocks
from comparing.plan import Plan
from comparing.records import Results
from comparing.running import Resources, run_all, train_one
from comparing.settings import SETTINGS, Setting
from comparing.tables import by_domain, differences_of_all, lower_rates, rates, scores_of_all
from comparing.ways import WAYS

from minorkey.adapters import weights_sha256
from minorkey.config import RunConfig, presets
from minorkey.models.backbone import load_backbone

OF_SETTING = ("ways", "seeds", "rate_seeds", "rate_folds", "rate_under", "head_rate", "frozen_rates", "leave_one_out")
"""What an option of the command line may say of a setting."""


def setting_of(name: str, args: argparse.Namespace) -> Setting:
    """A setting or a preset by its name, with what the command line says of it."""
    stem = Path(name).stem
    setting = SETTINGS.get(name) or Setting(name=stem, title=stem, preset=name)
    given: dict[str, Any] = {key: value for key in OF_SETTING if (value := getattr(args, key)) is not None}
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return replace(setting, **given).at(args.shared)


def plan_of(setting: Setting, args: argparse.Namespace) -> Plan:
    """The plan of a setting, with the results that are there.

    Raises:
        SystemExit: those are of runs of another length, size or head's rate, or of another preset or other weights; or
            seeds do not go together.
    """
    if both := set(setting.seeds) & set(setting.rate_seeds):
        raise SystemExit(f"seed {both.pop()} chooses rates and is reported; give other --rate-seeds")
    if setting.seeds and (alone := set(args.curve_seeds) - set(setting.seeds)):
        raise SystemExit(f"curve seed {alone.pop()} is none of the seeds that are reported; take one of those")
    config = setting.config(args.overrides)
    folds = [fold.domain for fold in setting.folds(config)]
    results = Results(args.results / setting.name)
    wanted = setting.equal(args.overrides)
    if not (args.table or args.write):
        wanted["weights"] = weights_of(config)
    if other := results.unequal({key: str(value) for key, value in wanted.items()}):
        raise SystemExit(f"{results.folder} has runs of {other}; give another --results")
    return Plan(
        results=results,
        grids={way: setting.grid(way, config) for way in setting.ways},
        folds=folds,
        rate_folds=[folds[place] for place in setting.rate_folds],
        seeds=setting.seeds,
        rate_seeds=setting.rate_seeds,
        curve_seeds=args.curve_seeds,
        tolerance=None if args.tolerance is None else args.tolerance / 100,
    )


def weights_of(config: RunConfig) -> str:
    """The pretrained weights, as results name them."""
    return weights_sha256(load_backbone(config.backbone).network)[:12]


def text(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def write(page: Path, outcomes: list[Outcome]) -> None:
    """Fill the page's tables, and draw its figure beside it."""
    picture = page.with_name(f"{page.stem}-rates.png")
    curves(outcomes).savefig(picture, dpi=110, facecolor="white")
    lower = {"lower rates": text(at_lower_rates(outcomes))} if any(each.lower for each in outcomes) else {}
    write_blocks(
        page,
        {
            "scores": text(scores_of_all(outcomes)),
            "differences": text(differences_of_all(outcomes)),
            "rates": f"![source validation over rates]({picture.name})",
            **lower,
        },
    )


def at_lower_rates(outcomes: list[Outcome]) -> Iterator[str]:
    """What lower rates give in place of the best ones, and how the ways compare at them."""
    yield from lower_rates(outcomes)
    if ways := [way for way in WAYS if all(way in each.lower for each in outcomes)]:
        yield ""
        yield from differences_of_all([outcome.at_lower(ways) for outcome in outcomes])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="+", help=f"settings ({', '.join(SETTINGS)}) or presets, then KEY=VALUE")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="a folder in it per setting")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of real images and weights")
    parser.add_argument("--ways", nargs="+", choices=WAYS)
    parser.add_argument("--seeds", nargs="*", type=int, help="none: rates are chosen, and nothing unseen is judged")
    parser.add_argument("--rate-seeds", nargs="+", type=int, help="those that choose rates")
    parser.add_argument("--curve-seeds", nargs="+", type=int, default=(), help="run in the end at all other rates, too")
    parser.add_argument("--tolerance", type=float, help="points on the source that a lower rate may be worse by")
    parser.add_argument("--rate-folds", nargs="+", type=int, help="places of the folds that choose rates")
    parser.add_argument("--rate-under", nargs="+", help="corruptions: rates count the source under them, too; night@3")
    parser.add_argument("--head-rate", type=float, help="of the head, beside every backbone that trains")
    parser.add_argument("--frozen-rates", nargs="+", type=float, help="of the head over a frozen backbone")
    parser.add_argument("--leave-one-out", action="store_true", default=None, help="each domain of a preset in turn")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--deadline", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--table", action="store_true", help="run nothing; print what is there")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="run nothing; fill the tables of a page")
    args = parser.parse_intermixed_args()
    if args.tolerance is not None and not args.tolerance >= 0:
        parser.error(f"--tolerance is a number, 0 or more, got {args.tolerance:g}")
    args.names = [argument for argument in args.arguments if "=" not in argument]
    args.overrides = [argument for argument in args.arguments if "=" in argument]
    known = [*SETTINGS, *presets()]
    if unknown := [name for name in args.names if name not in known and not name.endswith(".yaml")]:
        parser.error(f"no setting or preset {', '.join(unknown)}; known: {', '.join(known)}")
    return args


def main() -> int:
    args = parse()
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    end, complete, outcomes = time.monotonic() + args.deadline, True, list[Outcome]()
    for setting in [setting_of(name, args) for name in args.names]:
        plan = plan_of(setting, args)
        if not (args.table or args.write):
            left = Resources(args.processes, args.threads, end - time.monotonic())
            complete &= run_all(plan, partial(train_one, setting, args.overrides), left)
        outcomes.append(Outcome.of(setting.title, plan))
        print(f"{text(by_domain(outcomes[-1]))}\n\n{text(rates(outcomes[-1]))}\n", flush=True)
    if len(outcomes) > 1:
        print(f"{text(scores_of_all(outcomes))}\n\n{text(differences_of_all(outcomes))}")
    if any(outcome.lower for outcome in outcomes):
        print(f"\n{text(at_lower_rates(outcomes))}")
    if args.write:
        write(args.write, outcomes)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
