"""Every example of README.md and docs/ runs as written; see doc_examples.py."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from doc_examples import REPO, Example, find_examples, run_page

SECONDS_PER_PAGE = 240
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("**/*.md"))]
SHORT = {"README.md", "adaptation.md", "export.md", "label-spaces.md", "library.md", "recipes.md"}
"""What is read first; the other pages take five times as long, or have next to nothing to run."""
EXAMPLES = [
    pytest.param(
        page,
        example,
        id=f"{page.relative_to(REPO)}:{example.line}",
        marks=() if page.name in SHORT else pytest.mark.thorough,
    )
    for page in PAGES
    for example in find_examples(page.read_text(encoding="utf-8"))
]

NEEDED = {"deployment.md": ("onnx", "onnxscript", "onnxruntime")}
"""Packages that a page is about, where the environment may lack them."""

Outcome = tuple[set[int], str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Callable[[Path], Outcome]:
    """Runs a page once, however many of its examples are asked for."""
    return cache(lambda page: run_page(page, tmp_path_factory.mktemp(page.stem), SECONDS_PER_PAGE, commands))


@pytest.fixture
def run_text(tmp_path: Path, commands: Path) -> Callable[..., Outcome]:
    """Runs a page that is given as text."""

    def run(text: str, seconds: float = 30) -> Outcome:
        page = tmp_path / "page.md"
        page.write_text(text)
        return run_page(page, tmp_path, seconds, commands)

    return run


@pytest.mark.parametrize(("page", "example"), EXAMPLES)
def test_example_runs(page: Path, example: Example, outcome: Callable[[Path], Outcome]) -> None:
    if example.skip:
        pytest.skip(example.skip)
    for package in NEEDED.get(page.name, ()):
        pytest.importorskip(package)
    passed, log = outcome(page)
    assert example.line in passed, f"it, or an example before it, failed:\n{log[-3000:]}"


def test_blocks_share_the_folder_and_python_blocks_the_namespace(run_text: Callable[..., Outcome]) -> None:
    text = (
        "<!-- setup:\necho 20 > start\n-->\n# Title\n"
        "```python\nvalue = int(open('start').read())\n```\n"
        "```bash\necho 22 > more\n```\n"
        "1. In a list:\n\n   ```python\n   assert value + int(open('more').read()) == 42\n   ```\n"
        "```console\n$ test -f \\\n> more\nwhat it printed\n$ python --version\n```\n"
    )
    assert run_text(text)[0] == {5, 8, 13, 16}


@pytest.mark.parametrize(
    "failing",
    [
        "```python\nraise SystemExit(1)\n```\n",
        "```bash\nfalse | true\n```\n",
        "```console\n$ false\n$ true\n```\n",
    ],
)
def test_nothing_passes_from_the_first_failure_on(failing: str, run_text: Callable[..., Outcome]) -> None:
    good = "```python\nprint('fine')\n```\n"
    assert run_text(good + failing + good)[0] == {1}


def test_an_error_names_page_and_line(run_text: Callable[..., Outcome]) -> None:
    passed, log = run_text("text\n\n```python\nx = 1\nx / 0\n```\n")
    assert not passed
    assert 'page.md", line 5' in log
    assert "ZeroDivisionError" in log


def test_a_stuck_page_is_stopped(run_text: Callable[..., Outcome]) -> None:
    passed, log = run_text("```bash\nsleep 60\n```\n", seconds=1)
    assert not passed
    assert "stopped after 1 s" in log


def test_a_block_is_skipped_with_a_reason_only() -> None:
    block = "```bash\nfalse\n```\n"
    assert [e.skip for e in find_examples(f"<!-- not run: needs a GPU -->\n{block}{block}")] == [
        "needs a GPU",
        None,
    ]
    with pytest.raises(ValueError, match="line 2: `not run` gives no reason"):
        find_examples(f"<!-- not run: -->\n{block}")


def test_an_unknown_tag_is_no_way_round_the_test() -> None:
    with pytest.raises(ValueError, match="line 1: block tagged 'sh'; expected one of python, bash"):
        find_examples("```sh\nfalse\n```\n")
    assert find_examples("```yaml\na: 1\n```\n") == []
