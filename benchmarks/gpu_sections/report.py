"""What was measured: a JSON file that is whole at any time, tables of it, and what was wanted."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_sections import SECTIONS, section_of

STEP, MEMORY, BUSY, KERNELS, WAITS = "step, ms", "peak memory, MB", "busy", "kernels", "waits"
"""Names of figures that more than one place speaks of."""

Figures = dict[str, Any]


class Report:
    """The file, as a mapping that is written by `save`.

    `sections` holds, by name, `status` (`waiting`, `running`, `done`, `skipped`, `no time`), `why`, `began` (seconds
    since 1970) and `cases`: the figures of each, or one of `running`, `failed` and `skipped` with a line about it.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content

    @classmethod
    def read(cls, path: Path) -> "Report":
        """The report in a file."""
        return cls(path, json.loads(path.read_text(encoding="utf-8")))

    @property
    def sections(self) -> dict[str, Any]:
        """The sections by name."""
        return self.content["sections"]

    def save(self) -> None:
        """Write the file whole: what was in it stays until all of the new one is on disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(self.content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    @property
    def unfinished(self) -> list[str]:
        """Names of the sections that have not ended."""
        return [name for name, section in self.sections.items() if section["status"] in ("waiting", "running")]

    @property
    def tried(self) -> int:
        """How many cases were begun."""
        return sum(len(section["cases"]) for section in self.sections.values())

    def close_running(self, why: str) -> None:
        """Say of the case that was running what became of it."""
        for section in self.sections.values():
            for name, figures in section["cases"].items():
                if "running" in figures:
                    section["cases"][name] = {"failed": why}


@dataclass(frozen=True)
class Target:
    """A figure and what it may be at most, or at least."""

    name: str
    value: float | None  # None: not measured
    wanted: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was measured and is as wanted."""
        if self.value is None:
            return False
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.3g}"
        bound = "at least" if self.at_least else "at most"
        return f"{self.name}: {value} (wanted: {bound} {self.wanted:g}){'' if self.met else ', MISSED'}"


RATIOS = (
    ("recipe", "soma", "full", STEP, 0.70),
    ("recipe", "soma", "full", MEMORY, 0.60),
    ("adaptation", "transda: lora + self", "transda: full + ema", STEP, 0.70),
)
"""Section, its two cases, what of theirs is compared, and the ratio's bound."""

LEAST_BUSY = 0.90
ERROR, BOUND = "error", "wanted"
"""Figures of a correctness case: what was found, and the most that it may be."""


def targets(report: Report) -> list[Target]:
    """What is wanted of the sections that were asked for."""
    found = [
        Target(f"{section}: {own} / {other}, {figure}", _ratio(report, section, own, other, figure), wanted)
        for section, own, other, figure, wanted in RATIOS
        if section in report.sections
    ]
    if "recipe" in report.sections:
        cases = report.sections["recipe"]["cases"]
        found += [Target(f"recipe: {n}, busy", cases.get(n, {}).get(BUSY), LEAST_BUSY, True) for n in ("soma", "full")]
    if "correctness" in report.sections:
        cases = report.sections["correctness"]["cases"].items()
        found += [Target(f"correctness: {name}", case[ERROR], case[BOUND]) for name, case in cases if BOUND in case]
    return found


def _ratio(report: Report, section: str, own: str, other: str, figure: str) -> float | None:
    cases = report.sections[section]["cases"]
    values = [cases.get(name, {}).get(figure) for name in (own, other)]
    return None if None in values or not values[1] else values[0] / values[1]


def markdown(report: Report) -> str:
    """The tables of all sections, as docs/gpu.md has them."""
    parts = [machine_line(report)]
    for name in [section.name for section in SECTIONS] + [n for n in report.sections if section_of(n).title == n]:
        if name in report.sections:
            parts.append(f"### {section_of(name).title}\n\n{_table(report.sections[name])}")
    return "\n\n".join(parts)


def machine_line(report: Report) -> str:
    """What was measured on, and with what."""
    return ", ".join(str(value) for value in report.content.get("machine", {}).values() if value)


def _table(section: Mapping[str, Any]) -> str:
    if not section["cases"]:
        return f"not measured ({section.get('why') or section['status']})"
    columns = list(dict.fromkeys(key for case in section["cases"].values() if _measured(case) for key in case))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"] if columns else ["| | |", "|---|---|"]
    for name, case in section["cases"].items():
        cells = [_cell(case.get(key)) for key in columns] if _measured(case) else [_reason(case)]
        lines.append(f"| {name} | {' | '.join(cells + [''] * (len(columns) - len(cells)))} |")
    return "\n".join(lines)


def _measured(case: Mapping[str, Any]) -> bool:
    return not {"failed", "skipped", "running"} & case.keys()


def _reason(case: Mapping[str, Any]) -> str:
    return "not measured: " + "; ".join(f"{kind}, {why}" for kind, why in case.items()).replace("|", "/")[:160]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
