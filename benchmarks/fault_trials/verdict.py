"""Whether a trial was held, and why not."""

import re
from dataclasses import asdict, dataclass

from fault_trials.child import HUNG, End

ESCAPE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Characters that a terminal would obey."""


@dataclass(frozen=True)
class Verdict:
    """What a trial found: `why` is empty where the product held."""

    what: str  # the trial in words
    why: str = ""  # silent, traceback, several lines, hangs, dies, writes outside, remains lost ...
    detail: str = ""
    remains: str = ""  # files left over that are nobody's

    @property
    def held(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.why

    def to_json(self) -> dict[str, object]:
        """For the results."""
        return {**asdict(self), "held": self.held}


def fault_of(end: End) -> tuple[str, str]:
    """What no call may do, whatever it was given: (kind, detail), two empty texts for nothing."""
    if end.code == HUNG:
        return "hangs", end.text[-200:]
    if "Traceback (most recent call last)" in end.err:
        return "traceback", end.last[:200]
    if end.code < 0 or end.code in (1, 134, 139):
        return "dies", f"exit code {end.code}: {end.last[:200]}"
    if ESCAPE.search(end.text):
        return "escapes printed", repr(end.text[max(0, ESCAPE.search(end.text).start() - 60) :][:120])  # type: ignore[union-attr]
    if end.code == 2 and not is_usage(end):
        return ("", "") if _is_one_line(end) else ("no single line", (end.err or end.out)[-300:])
    return "", ""


def is_usage(end: End) -> bool:
    """Whether the command line itself was wrong, which typer says in its own words."""
    return end.err.lstrip().startswith("Usage:")


def _is_one_line(end: End) -> bool:
    """Whether the words end with a line of ours; a line for each broken image of a prediction are several."""
    lines = [line for line in end.err.strip().splitlines() if line.strip()]
    if not lines:  # `data check` has its lines in what it prints
        return "problem: " in end.out or "would stop a training" in end.out
    return lines[-1].startswith("minorkey: ") and "minorkey:" in end.err


def refused(what: str, end: End, *, must_name: str = "") -> Verdict:
    """Held where it ends with exit code 2 and one line, which names something."""
    why, detail = fault_of(end)
    if not why and end.code == 0:
        why, detail = "silent", "accepted"
    if not why and end.code != 2:
        why, detail = "dies", f"exit code {end.code}: {end.last[:200]}"
    if not why and must_name and must_name.lower() not in end.text.lower():
        why, detail = "says something else", end.last[:200]
    return Verdict(what, why, detail)


def no_fault(what: str, end: End) -> Verdict:
    """Held where it is accepted or refused, in order."""
    return Verdict(what, *fault_of(end))
