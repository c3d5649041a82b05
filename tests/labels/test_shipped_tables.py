"""Tables of the package, read as they are, and as the file of a stranger is read."""

from pathlib import Path

import pytest

import minorkey
from minorkey.labels.tables import read_yaml, shipped_yaml

SHIPPED = sorted(Path(minorkey.__file__).parent.rglob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_shipped_tables_are_the_same_in_either_way(file):
    ours, strangers = shipped_yaml(file), read_yaml(file)
    assert ours == strangers
    assert list(ours) == list(strangers)
