"""The trials of benchmarks/fault_trials, importable."""

import os
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

BESIDE_OTHERS = "PYTEST_XDIST_WORKER" in os.environ
"""Whether other tests have run in this process: their threads may hold locks that a fork never gets
(tests/test_faults.py)."""


def pytest_ignore_collect() -> bool | None:
    """Leave these tests to a process of their own."""
    return True if BESIDE_OTHERS else None
