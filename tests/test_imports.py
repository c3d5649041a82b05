"""Any module may be the first one of minorkey that a process imports.

Imports are followed in the sources, as Python would run them: in a fresh interpreter each, that would take minutes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import minorkey

ROOT = Path(minorkey.__file__).parent


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs while a module is imported, but for what is there for type checkers."""
    for statement in body:
        checked = isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"
        yield statement
        for part in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef) and not (checked and part == "body"):
                yield from _statements(getattr(statement, part, []))


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives its module."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


Steps = list[tuple[ast.stmt, frozenset[str]]]
"""Statements that import something or give the module names, in their order, with these names."""


def _steps(text: str) -> Steps:
    found = ((statement, frozenset(_bound(statement))) for statement in _statements(ast.parse(text).body))
    return [(statement, names) for statement, names in found if names]


class _Process:
    """Modules that one process has imported, or is about to: the names that each has so far."""

    def __init__(self, sources: dict[str, Steps]) -> None:
        self.sources, self.names = sources, {}

    def run(self, module: str) -> None:
        if module.rpartition(".")[0] in self.sources:
            self.run(module.rpartition(".")[0])
        if module in self.names or module not in self.sources:
            return
        names = self.names[module] = set[str]()
        for statement, given in self.sources[module]:
            if isinstance(statement, ast.ImportFrom) and statement.module in self.sources:
                self.take(statement.module, [alias.name for alias in statement.names], module)
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    self.run(alias.name)
            names.update(given)
        names.add("*")  # all of them: it is done

    def take(self, module: str, names: list[str], importer: str) -> None:
        self.run(module)
        for name in names:
            self.run(f"{module}.{name}")
            if f"{module}.{name}" not in self.sources and not self.names[module] & {name, "*"}:
                raise ImportError(f"{importer} wants {name} of {module}, which waits for it")


def test_a_module_can_be_the_first_that_is_imported() -> None:
    sources = {_name(file): _steps(file.read_text(encoding="utf-8")) for file in ROOT.rglob("*.py")}
    for module in sources:
        process = _Process(sources)
        process.run(module)
        assert "*" in process.names[module]


def test_a_circle_of_imports_is_found() -> None:
    texts = {"a": "from a.b import one\ntwo = 2", "a.b": "from a import two\none = 1", "a.c": "import json"}
    sources = {name: _steps(text) for name, text in texts.items()}
    with pytest.raises(ImportError, match=r"a\.b wants two of a, which waits for it"):
        _Process(sources).run("a.c")
