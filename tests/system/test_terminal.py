"""Printing that outlasts the terminal, pipe or disk behind it."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from minorkey.system.terminal import outlast_the_terminal
outlast_the_terminal()
from rich.console import Console
from minorkey.system.progress import Reporter
with Reporter(Console(stderr=True), "at work", 3) as reporter:
    for step in range(3):
        print("x" * 100_000)
        reporter.update(step + 1)
print("\\N{CHECK MARK}", flush=True)
with open(sys.argv[1], "w") as file:
    file.write("done")
"""


def _broken_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def _hung_up_terminal() -> int:
    ours, theirs = os.openpty()
    os.close(ours)
    return theirs


@pytest.mark.parametrize("opened", [_broken_pipe, _hung_up_terminal, lambda: os.open("/dev/full", os.O_WRONLY)])
def test_work_goes_on_when_nobody_listens(opened, tmp_path):
    number = opened()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "end")]
    code = subprocess.run(command, stdout=number, stderr=number, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    os.close(number)
    assert code.returncode == 0
    assert (tmp_path / "end").read_text() == "done"


def test_nothing_is_printed_into_a_file_that_takes_the_place_of_a_closed_stream(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "end")]
    subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], check=True)
    assert (tmp_path / "end").read_text() == "done"


def test_output_is_as_it_would_be_while_somebody_listens(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "end")]
    found = subprocess.run(command, capture_output=True, check=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert found.stdout == (b"x" * 100_000 + b"\n") * 3 + b"\\u2713\n"
    assert b"at work: step 3/3" in found.stderr
