"""The walks of CONTRIBUTING.md lead through files that exist, and name functions that are in them."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
TEXT = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Three walks")[2].partition("\n## ")[0]
WALKS = re.findall(r"^(\w[^\n]*):\n\n((?:\d\. .*\n)+)", TEXT + "\n", re.MULTILINE)
STEP = re.compile(r"\d\. \[(.+?)\]\((.+?)\): (.*)")


@pytest.mark.parametrize(("walk", "steps"), WALKS, ids=[walk for walk, _ in WALKS])
def test_a_walk_is_short_and_leads_through_what_is_there(walk: str, steps: str) -> None:
    found = [STEP.fullmatch(step) for step in steps.splitlines()]
    assert all(found)
    assert len(found) <= 5, walk
    for place, link, said in (step.groups() for step in found if step):
        assert link == f"src/minorkey/{place}"
        source = (REPO / link).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", said):
            assert re.search(rf"^ *(?:def|class) {name}\b", source, re.MULTILINE), f"{name} is not in {place}"


def test_there_is_a_walk_for_training_evaluation_and_prediction() -> None:
    assert [walk for walk, _ in WALKS] == ["A training step", "An evaluation", "A prediction"]
