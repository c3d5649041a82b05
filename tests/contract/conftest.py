"""Prints the grid of the contract tests, methods by families, at the end of a run."""

import pytest

NOTES = {"ok": "+", "no adapter: weights are saved": "w"}
LEGEND = (
    "+ output kept, gradients exact, folds in, stock PEFT   w the same, no adapter: the weights are saved   ! failed"
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    cells: dict[str, dict[str, str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = dict(report.user_properties)
            if "grid" in properties:
                method, family = properties["grid"]
                sign = NOTES[properties["cell"]] if outcome == "passed" else "!"
                cells.setdefault(family, {})[method] = sign
    if not cells:
        return
    methods = list(dict.fromkeys(method for row in cells.values() for method in row))
    width = max(map(len, cells))
    terminalreporter.section("methods x families")
    for line in _header(methods):
        terminalreporter.line(" " * (width + 2) + line)
    for family, row in cells.items():
        terminalreporter.line(f"{family:{width}}  " + " ".join(row.get(method, ".") for method in methods))
    terminalreporter.line(LEGEND)


def _header(methods: list[str]) -> list[str]:
    """Method names, written downwards."""
    height = max(map(len, methods))
    return [" ".join(method.rjust(height)[i] for method in methods) for i in range(height)]
