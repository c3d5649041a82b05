"""The examples in docstrings run as written."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import minorkey

SOURCE = Path(minorkey.__file__).parent
WITH_EXAMPLES = [
    ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(SOURCE.glob("**/*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_of(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner()
    examples = [test for test in doctest.DocTestFinder().find(import_module(module)) if test.examples]
    for test in examples:
        runner.run(test, out=report.append)
    assert examples, f"no docstring of {module} has the example that its text has"
    assert not runner.summarize(verbose=False).failed, "".join(report)
