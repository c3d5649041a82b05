"""The tests of tests/faults where tests run in parallel: in a process of their own, for they fork from it."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests/faults run by themselves")
def test_faults(commands):
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [commands / "pytest", "-q", "-p", "no:cacheprovider", Path(__file__).with_name("faults")]
    ended = subprocess.run(command, env=alone, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
