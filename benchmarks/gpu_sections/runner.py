"""The process that measures: section after section, case after case, each written down as it ends."""

import faulthandler
import gc
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gpu_sections import Section, section_of
from gpu_sections.bench import Bench, OutOfTime
from gpu_sections.report import Figures, Report

LEAST = 2.0
"""Seconds that must be left for a case to be begun."""

GRACE = 15.0
"""Seconds after its deadline at which a case that does not come back is given up, and the process with it."""

TOYS = 4
"""How much longer a section may take where nothing is measured but whether it runs: CPUs differ."""

DEVICE_LOST = 3
"""Exit code where the device no longer answers, so that another process has to go on."""


def run(path: Path, until: float, small: bool) -> None:
    """Measure what the report in a file still lacks.

    Args:
        path: of the report.
        until: when all is to be over, by time.time().
        small: toys.
    """
    report = Report.read(path)
    if small and not torch.cuda.is_available():
        torch.set_num_threads(1)
    report.content["machine"] = machine()
    report.save()
    with TemporaryDirectory() as folder:
        os.environ["MINORKEY_CACHE"] = folder  # a network that several cases adapt is decomposed once
        bench = Bench(small, Path(folder))
        for name in report.unfinished:
            run_section(section_of(name), bench, report, until)


def machine() -> dict[str, str]:
    """What is measured on, and with what."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU, {platform.machine()}"
    libraries = ("transformers", "accelerate", "peft")
    return {
        "device": device,
        "cores": f"{os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
        "torch": f"torch {torch.__version__}",
        **{name: f"{name} {_version(name)}" for name in libraries},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def run_section(section: Section, bench: Bench, report: Report, until: float) -> None:
    """Run what is left of a section."""
    record = report.sections[section.name]
    record["began"] = record.get("began") or time.time()
    seconds = record.get("seconds at most", section.seconds * (TOYS if bench.small else 1))
    ends = min(record["began"] + seconds, until)
    record["status"] = "running"
    report.save()
    try:
        if ends - time.time() < LEAST:
            record |= {"status": "no time", "why": "no time was left"}
            return
        _run_cases(section, bench, report, ends)
    except ModuleNotFoundError as error:
        record |= {"status": "skipped", "why": str(error)}
    except Exception as error:
        traceback.print_exc()
        record |= {"status": "failed", "why": one_line(error)}
    finally:
        record["seconds"] = round(time.time() - record["began"], 1)
        report.save()


def _run_cases(section: Section, bench: Bench, report: Report, ends: float) -> None:
    record = report.sections[section.name]
    module = f"gpu_sections.{section.name}"
    cases = import_module(module if find_spec(module) else section.name).cases(bench)
    gc.collect()
    gc.freeze()  # libraries: so that looking for what a case left behind takes no time
    for name, measure in cases:
        if name in record["cases"]:  # a process before this one ended with it
            continue
        if ends - time.time() < LEAST:
            record["cases"][name] = {"failed": "no time was left"}
            continue
        bench.until = min(time.time() + section.case_seconds, ends)
        record["cases"][name] = {"running": "begun"}
        report.save()
        record["cases"][name] = measured(measure, bench)
        report.save()
        print(f"{section.name}: {name}: {record['cases'][name]}", file=sys.stderr, flush=True)
        if not bench.alive():
            os._exit(DEVICE_LOST)
    record["status"] = "done"


def measured(measure: Callable[[], Figures], bench: Bench) -> Figures:
    """The figures of a case, or why there are none."""
    # Runs without the interpreter: a call that never comes back cannot keep it from ending the process.
    faulthandler.dump_traceback_later(max(1.0, bench.left() + GRACE), exit=True)
    try:
        with bench.fresh():
            return measure()
    except OutOfTime:
        return {"failed": "its time was over"}
    except ModuleNotFoundError as error:
        return {"skipped": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"failed": one_line(error)}
    finally:
        faulthandler.cancel_dump_traceback_later()


def one_line(error: BaseException) -> str:
    """An error's type and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]
