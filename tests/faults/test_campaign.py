"""A sample of the campaign of benchmarks/faults.py: nothing lost, nothing silently wrong, nothing written outside."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fault_trials.rows import ROWS

REPOSITORY = Path(__file__).parents[2]
SAMPLE = [(row.name, index) for row in ROWS for index in row.sample]

pytestmark = pytest.mark.timeout(1200)  # the first test waits for all trials


@pytest.fixture(scope="module")
def results(commands, tmp_path_factory) -> dict[tuple[str, int], dict[str, Any]]:
    """What the script found, by row and number."""
    out = tmp_path_factory.mktemp("faults")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    command = [commands / "warm-python", REPOSITORY / "benchmarks" / "faults.py", "--sample", "--out", out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (file,) = out.glob("*.jsonl")
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert done.returncode == int(any(result["why"] for result in found)), done.stderr
    return {(result["row"], result["index"]): result for result in found}


@pytest.mark.parametrize(("row", "index"), SAMPLE)
def test_a_trial_holds(results, row, index):
    result = results[row, index]
    assert not result["why"], f"{result['what']}: {result['why']}: {result['detail']}"
