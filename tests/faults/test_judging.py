"""The campaign sees a fault where there is one: its trials, its watch, its judges."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from fault_trials.child import HUNG, End, run
from fault_trials.grammar import mutated, on_command_line, places, value
from fault_trials.material import Material
from fault_trials.results import Row, do_trial, read, table, version
from fault_trials.sandbox import Sandbox, changes, differences, outcome, state
from fault_trials.verdict import Verdict, fault_of, refused
from fault_trials.watch import Events, Watch

from minorkey.errors import DataError


@pytest.fixture
def box(tmp_path) -> Sandbox:
    return Sandbox(tmp_path / "trial")


def test_a_call_is_a_process_of_its_own(box):
    end = run(lambda: (print("out"), print("err", file=sys.stderr), Path("made").touch()), box.work)
    assert (end.code, end.out, end.err) == (0, "out\n", "err\n")
    assert (box.work / "made").is_file()
    assert run(["train", "nothing"], box.work).code == 2


def _raise(error: BaseException) -> None:
    raise error


class TwoLines(DataError):
    """As an error of this package, which is one line, never is."""

    def __str__(self) -> str:
        return "two\nlines"


@pytest.mark.parametrize(
    ("do", "code", "why"),
    [
        (lambda: None, 0, ""),
        (lambda: _raise(DataError("file x: what came, what was expected")), 2, ""),
        (lambda: _raise(TwoLines()), 2, "no single line"),
        (lambda: _raise(ValueError("not ours")), 1, "traceback"),
        (lambda: print("\x1b[31mred"), 0, "escapes printed"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -signal.SIGTERM, "dies"),
        (lambda: time.sleep(60), HUNG, "hangs"),
        (lambda: bytearray(1 << 31), 1, "traceback"),  # more memory than it may take
    ],
)
def test_what_no_call_may_do(box, do, code, why):
    end = run(do, box.work, seconds=3, memory=1 << 30)
    assert (end.code, fault_of(end)[0]) == (code, why)


def test_what_is_accepted_in_silence_is_not_held():
    assert refused("bad", End(0, "", "")).why == "silent"
    assert refused("bad", End(2, "", "minorkey: x is bad")).held
    assert refused("bad", End(2, "", "minorkey: x is bad"), must_name="exif").why == "says something else"


def test_the_watch_sees_what_leaves_the_folder(box):
    secret = box.secret

    def do() -> None:
        Path("inside").write_text("x")
        (box.outside / "x").write_text("x")
        secret.read_text()
        os.system("true")

    words = run(do, box.work, watch=Watch([box.work], [secret])).seen
    assert [word.split()[0] for word in words] == ["writes", "reads", "starts"]
    assert str(box.outside / "x") in words[0]


def test_a_kill_before_an_event_leaves_what_was_before_it(box):
    def do() -> None:
        for name in "abc":
            (box.work / name).write_text("whole")

    whole = Events(box.work)

    def counted() -> None:
        whole.begin()
        do()
        print(whole.count)

    assert run(counted, box.work).out == "3\n"
    (box.work / "c").unlink()
    events = Events(box.work, 2, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert run(do, box.work, prepare=events.begin).code == -signal.SIGKILL
    assert sorted(path.name for path in box.work.glob("?")) == ["a", "b"]


def test_a_power_cut_takes_what_was_not_flushed(box):
    def do() -> None:
        for name in ("flushed", "cached"):
            with (box.work / f".{name}").open("w") as file:
                file.write(name)
                file.flush()
                if name == "flushed":
                    os.fsync(file.fileno())
            (box.work / f".{name}").rename(box.work / name)
        (box.work / "last").touch()

    def cut() -> None:
        events.lose_unsynced()
        os.kill(os.getpid(), signal.SIGKILL)

    events = Events(box.work, 5, cut)
    assert run(do, box.work, prepare=events.begin).code == -signal.SIGKILL
    assert {name: (box.work / name).read_text() for name in ("flushed", "cached")} == {
        "flushed": "flushed",
        "cached": "",
    }


def test_files_of_the_users_are_compared(box):
    before = state(box.root)
    box.secret.write_text("other")
    (box.outside / "new").touch()
    assert sorted(changes(before, state(box.root))) == ["added outside/new", "changed outside/secret.txt"]


def test_outcomes_are_compared_without_what_the_clock_says(tmp_path):
    for name, seconds, score in (("a", 1, 5), ("b", 2, 5), ("c", 1, 6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(f'{{"seconds": {seconds}, "score": {score}}}')
    a, b, c = (outcome(tmp_path / name) for name in "abc")
    assert differences(a, b) == ([], [])
    assert differences(a, c) == (["x.json"], [])
    assert differences({}, c) == ([], ["x.json"])


def test_the_grammar_repeats_itself_with_its_seed_and_changes_what_it_says():
    document = {"a": [1, {"b": "x"}], "c": {"d": None}}
    assert places(document) == [("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",), ("c", "d")]
    for seed in range(40):
        first, second = (mutated(random.Random(seed), document) for _ in range(2))
        assert repr(first) == repr(second)
        assert document == {"a": [1, {"b": "x"}], "c": {"d": None}}
        assert "\n" not in on_command_line(value(random.Random(seed)))


def _trial(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    return Verdict(str(rng.random()), "broken" if index == 1 else "") if index < 2 else Verdict(str(1 / 0))


def test_trials_are_drawn_from_their_number_and_tabled(tmp_path):
    row, material = Row("some", _trial, 3, (0,)), Material(tmp_path)
    done = [do_trial(row, index, material) for index in range(3)]
    again = do_trial(row, 0, material)
    assert (again["what"], again["row"], again["index"]) == (done[0]["what"], "some", 0)
    assert [result["why"] for result in done] == ["", "broken", "the trial itself fails"]
    assert table(done, [row]).splitlines()[-1] == "| some | 3 of 3 | 1 | 2 | 0 | 1 broken, 1 the trial itself fails |"


def test_results_of_other_code_do_not_count_and_a_cut_line_is_done_again(tmp_path):
    (tmp_path / "code.py").write_text("1")
    first = version(tmp_path)
    (tmp_path / "code.py").write_text("2")
    assert version(tmp_path) != first
    (tmp_path / "results").write_text('{"row": "a", "index": 0}\n{"row": "a", "ind')
    assert read(tmp_path / "results") == [{"row": "a", "index": 0}]
