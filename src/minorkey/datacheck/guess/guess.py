"""The `dataset.yaml` that a folder needs, guessed from what lies in it, for its user to edit."""

from dataclasses import dataclass

import yaml

TOP = """# What `minorkey data init` took this folder for: give the classes their names, and check the rest.
# Every key is explained in docs/datasets.md.
"""


@dataclass(frozen=True)
class Guess:
    """What a folder was taken for."""

    task: str
    what: str  # in words
    text: str  # of `dataset.yaml`


def line(key: object, value: object, comment: str = "") -> str:
    """`key: value  # comment` of YAML, on one line."""
    flow = yaml.safe_dump({key: value}, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return flow.strip()[1:-1] + (f"  # {comment}" if comment else "") + "\n"
