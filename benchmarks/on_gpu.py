"""Everything that is said about a GPU, measured by one command in at most 8 minutes: docs/gpu.md.

    python benchmarks/on_gpu.py [--out runs/on_gpu.json] [--sections recipe:120 detectors] [--deadline 460]
    python benchmarks/on_gpu.py --small
    python benchmarks/on_gpu.py --table runs/on_gpu.json

Sections run one after the other, the most important first: what the card can do; whether results are right; a step of
the recipe `gta_to_cbm` for every method and switch; with a target; detectors; judging and predicting; loading; gradient
checkpointing; torch.compile. `--sections` names some of them, or modules of your own with `cases`; `recipe:60` is one
with other seconds than its own. Weights are random.

One process measures, and writes every case to the JSON file as it ends. Each section, each case and the whole have a
deadline, looked at between steps. A case that raises is noted, and the next begins. A case that hangs, or that ends the
process or the device, ends it alone: this process, which holds no library, starts another for the cases after it.

Step: see `Bench.steps` of gpu_sections/bench.py. `kernels`, `busy` and `waits` are per step, by torch's profiler: the
kernels and copies of the GPU, the union of their times as a share of the step without profiler, and calls of CUDA's
runtime that stand until the device gets there (`profiled.WAITS`); on a CPU operations and what reads numbers from
tensors. `waits at` are the lines of Python, by torch's own check. Peak memory is torch's, of the case alone.

Wanted: SoMA takes at most 0.70 of the time of full fine-tuning and 0.60 of its memory, LoRA without a momentum network
0.70 of the time of full fine-tuning with one, and the GPU works 0.90 of the step; errors as the correctness section has
them. On a GPU the exit code is 1 where one is missed or was not measured. `--small` is to try all of it, a minute on a
CPU: its figures mean nothing.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from gpu_sections import SECTIONS
from gpu_sections.report import Report, machine_line, markdown, targets

GRACE = 20.0
"""Seconds after the deadline of the whole at which the measuring process is ended from outside."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/on_gpu.json"))
    parser.add_argument("--sections", nargs="+", default=[section.name for section in SECTIONS])
    parser.add_argument("--deadline", type=float, default=460.0, help="seconds for all of it")
    parser.add_argument("--small", action="store_true", help="toys, to try the script")
    parser.add_argument("--table", type=Path, help="print the tables of an earlier run's file, and measure nothing")
    parser.add_argument("--measure-until", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def new_report(args: argparse.Namespace) -> Report:
    sections = {}
    for asked in args.sections:
        name, _, seconds = asked.partition(":")
        sections[name] = {"status": "waiting", "cases": {}, **({"seconds at most": float(seconds)} if seconds else {})}
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return Report(args.out, {"began": now, "small": args.small, "deadline": args.deadline, "sections": sections})


def supervise(args: argparse.Namespace, report: Report) -> Report:
    """Let processes measure until nothing is left to do or no time; the report in the end."""
    until = time.time() + args.deadline
    while report.unfinished and time.time() < until:
        tried = report.tried
        code = measure_in_process(args, until)
        report = Report.read(args.out)
        report.close_running(f"the process ended with {code}")
        report.content["exit codes"] = [*report.content.get("exit codes", []), code]
        report.save()
        if report.tried == tried:  # nothing was begun: another process would do no better
            break
    for name in report.unfinished:
        report.sections[name] |= {"status": "no time", "why": "no time was left, or no process could begin it"}
    report.content["seconds"] = round(args.deadline - (until - time.time()), 1)
    report.save()
    return report


def measure_in_process(args: argparse.Namespace, until: float) -> int:
    """Its exit code; a signal's is negative."""
    command = [sys.executable, __file__, "--measure-until", str(until), "--out", str(args.out)]
    child = subprocess.Popen(command + ["--small"] * args.small)
    try:
        return child.wait(timeout=max(1.0, until + GRACE - time.time()))
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
    finally:
        child.kill()


def main() -> int:
    args = parse()
    if args.table:
        print(markdown(Report.read(args.table)))
        return 0
    if args.measure_until:
        from gpu_sections.runner import run

        run(args.out, args.measure_until, args.small)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the measuring process ends with this one
    report = new_report(args)
    report.save()
    report = supervise(args, report)
    print(f"\n{markdown(report)}\n")
    wanted = targets(report)
    for target in wanted:
        print(target)
    toys = "; toys, which say nothing of the real ones" if args.small else ""
    print(f"\n{machine_line(report)}; {report.content['seconds']} s; {args.out}{toys}")
    return int(not args.small and "no GPU" not in machine_line(report) and not all(target.met for target in wanted))


if __name__ == "__main__":
    sys.exit(main())
