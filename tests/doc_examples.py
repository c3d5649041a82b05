"""Finds the examples of a markdown page and runs them in order, in one folder and one process (`warm_commands`).

Blocks tagged `python` share a namespace; those tagged `bash`, and the `$` lines of `console` blocks, go to
bash, with this environment's commands on the PATH, of which `minorkey` is a warm one. Three HTML comments, which
readers do not see, steer it: the page may begin with `<!-- setup: commands -->`, run first ($REPO is the checkout),
`<!-- not run: reason -->` before a block skips it, and `<!-- file: name -->` writes it to a file in the folder, which
modules are imported from.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

REPO = Path(__file__).parents[1]
RUN = ("python", "bash", "console")
SHOWN = ("yaml", "json", "text", "bibtex", "mermaid")
SETUP = re.compile(r"\A<!-- setup:(.*?)-->", re.DOTALL)
BLOCK = re.compile(
    r"(?:<!-- not run:(?P<reason>[^>]*)-->\s*)?"
    r"(?:<!-- file:(?P<file>[^>]*)-->\s*)?"
    r"^(?P<indent>[ \t]*)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ \t]*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Example:
    """A block of code; `line` is that of its opening fence, `skip` the reason not to run it, `file` where it goes."""

    line: int
    language: str
    code: str
    skip: str | None
    file: str | None = None


def find_examples(text: str) -> list[Example]:
    """The examples of a page. Raises ValueError for an unknown tag or a skip without a reason."""
    examples = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("indent")) + 1
        language, reason = block["language"].strip(), block["reason"]
        if language not in RUN + SHOWN:
            raise ValueError(f"line {line}: block tagged '{language}'; expected one of {', '.join(RUN + SHOWN)}")
        if reason is not None and not reason.strip():
            raise ValueError(f"line {line}: `not run` gives no reason")
        if language in RUN:
            file = block["file"] and block["file"].strip()
            examples.append(Example(line, language, dedent(block["code"]), reason and reason.strip(), file))
    return examples


def run_page(page: Path, folder: Path, seconds: float, commands: Path) -> tuple[set[int], str]:
    """Run a page in an empty folder: the lines of the examples that passed, and what all of them printed.

    Args:
        page: a markdown file.
        folder: for what it writes.
        seconds: after which it is stopped.
        commands: folder of `warm_commands`.
    """
    passed, log, work = folder / "passed", folder / "log", folder / "work"
    passed.touch()
    work.mkdir()
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    modules = os.pathsep.join(filter(None, [str(work), os.environ.get("PYTHONPATH")]))
    own = {"PATH": path, "PYTHONPATH": modules, "REPO": str(REPO), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    own["PYTHON_EXEC"] = str(commands / "warm-python")  # which torchrun starts
    own["MINORKEY_CACHE"] = str(commands.parent / "cache")  # pages begin with one backbone: it is decomposed once
    with log.open("w") as output:
        try:
            subprocess.run(
                [commands / "page", page, passed],
                cwd=work,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            output.write(f"\nstopped after {seconds:g} s\n")
    return set(map(int, passed.read_text().split())), log.read_text()


def _bash(commands: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], check=True)


def run_examples() -> None:
    """The command `page PAGE PASSED`: run examples until one fails; note the line of each that passes."""
    page, passed = map(Path, sys.argv[1:])
    text = page.read_text(encoding="utf-8")
    if setup := SETUP.match(text):
        _bash(dedent(setup[1]))
    namespace = {"__name__": "__main__"}
    for example in find_examples(text):
        if example.skip:
            continue
        if example.file:
            Path(example.file).parent.mkdir(parents=True, exist_ok=True)
            Path(example.file).write_text(example.code, encoding="utf-8")
        elif example.language == "python":
            exec(compile("\n" * example.line + example.code, page, "exec"), namespace)
        elif example.language == "bash":
            _bash(example.code)
        else:
            _bash("\n".join(re.findall(r"^[$>] (.*)$", example.code, re.MULTILINE)))
        with passed.open("a") as lines:
            print(example.line, file=lines)
