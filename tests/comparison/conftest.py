"""scripts/compare.py: its modules, and a plan of two ways and a frozen backbone."""

from pathlib import Path

import pytest
from planned import GRIDS

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def plan(tmp_path):
    from comparing.plan import Plan
    from comparing.records import Results

    return Plan(Results(tmp_path), GRIDS, ["here", "there"], ["here"], [0, 1], [100])
