"""The script that measures a GPU runs on a CPU, whole, whatever one of its sections does."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ABSENT = ("hotcoco", "matplotlib", "typer")
"""Dependencies of minorkey that a machine which only measures need not have."""

TROUBLE = """
import time

from gpu_sections import runner

runner.GRACE = -58.0  # of the 60 seconds of a case


def cases(bench):
    yield "raises", lambda: 1 / 0
    yield "hangs", lambda: time.sleep(100)
    yield "is measured", lambda: {"value": 1.0}
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def on_gpu(out: Path, *arguments: object, first: Path) -> tuple[dict[str, Any], str]:
    """What the script wrote and printed; modules in the folder `first` come before all others."""
    command = [sys.executable, BENCHMARKS / "on_gpu.py", "--small", "--out", out, *arguments]
    source = str(BENCHMARKS.parent / "src")
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join([str(first), source])}
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_every_section_gives_its_figures_without_libraries_that_only_reports_need(tmp_path):
    from gpu_sections import SECTIONS

    for name in ABSENT:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}', name='{name}')\n")
    report, printed = on_gpu(tmp_path / "all.json", first=tmp_path)
    assert list(report["sections"]) == [section.name for section in SECTIONS]
    for name, section in report["sections"].items():
        assert section["status"] == "done", (name, section)
        assert section["cases"]
        for case, figures in section["cases"].items():
            assert figures, (name, case)
            assert not {"failed", "skipped", "running"} & figures.keys(), (name, case, figures)
    assert {"step, ms", "peak memory, MB", "operations"} <= report["sections"]["recipe"]["cases"]["soma"].keys()
    for figures in report["sections"]["correctness"]["cases"].values():
        assert figures.get("error", 0) <= figures.get("wanted", 1)
    assert all(section.title in printed for section in SECTIONS)


@pytest.mark.thorough
def test_a_case_that_raises_or_hangs_ends_no_other(tmp_path):
    (tmp_path / "trouble.py").write_text(TROUBLE)
    report, printed = on_gpu(tmp_path / "own.json", "--sections", "trouble", "ceilings", first=tmp_path)
    trouble, ceilings = report["sections"].values()
    assert trouble["cases"]["raises"] == {"failed": "ZeroDivisionError: division by zero"}
    assert trouble["cases"]["hangs"] == {"failed": "the process ended with 1"}
    assert trouble["cases"]["is measured"] == {"value": 1.0}
    assert trouble["status"] == ceilings["status"] == "done"
    assert ceilings["cases"]["copy on the device"]["GB/s"] > 0
    assert "ZeroDivisionError" in printed


def test_no_step_and_no_section_begins_after_its_deadline(tmp_path):
    from gpu_sections import section_of
    from gpu_sections.bench import Bench
    from gpu_sections.report import Report
    from gpu_sections.runner import measured, run_section

    bench = Bench(small=True, folder=tmp_path, until=time.time() - 1)
    taken = []

    def steps() -> dict:
        for _ in bench.steps({}, images=1):
            taken.append(1)
        return {}

    assert measured(steps, bench) == {"failed": "its time was over"}
    assert not taken
    report = Report(tmp_path / "late.json", {"sections": {"ceilings": {"status": "waiting", "cases": {}}}})
    run_section(section_of("ceilings"), bench, report, until=time.time() + 0.1)
    assert Report.read(report.path).sections["ceilings"]["status"] == "no time"


def test_a_target_is_missed_where_it_was_not_measured_or_is_not_reached(tmp_path):
    from gpu_sections.report import Report, targets

    cases = {"soma": {"step, ms": 60.0, "busy": 0.95}, "full": {"step, ms": 100.0, "busy": 0.8}}
    report = Report(tmp_path / "some.json", {"sections": {"recipe": {"status": "done", "cases": cases}}})
    met = {target.name: target.met for target in targets(report)}
    assert met == {
        "recipe: soma / full, step, ms": True,
        "recipe: soma / full, peak memory, MB": False,
        "recipe: soma, busy": True,
        "recipe: full, busy": False,
    }


def test_what_overlaps_counts_once():
    from profiled import union

    assert union([(5, 6), (0, 2), (1, 3), (1, 2)]) == 4
    assert union([]) == 0
