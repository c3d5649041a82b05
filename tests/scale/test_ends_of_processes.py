"""When one of two processes cannot go on, both end, and one line says why."""

import pytest
from launching import torchrun, write_streets

from minorkey.config import save_config
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints

MODULE = ("-m", "minorkey")


def test_a_broken_image_of_one_process_ends_both_with_one_line(make_config, commands, tmp_path):
    streets = write_streets(tmp_path / "streets")
    broken = streets / "images" / "train" / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    config = make_config(
        source=str(streets), unseen="world:night", training={"steps": 8, "checkpoint_every": 1, "batch_size": 2}
    )
    save_config(config, tmp_path / "run.yaml")
    launched = torchrun(tmp_path, *MODULE, "train", tmp_path / "run.yaml", "--out", tmp_path / "run", warm=commands)
    assert launched.code != 0
    told = [text for text in launched.stderr if "minorkey:" in text]
    assert len(told) == 1
    (line,) = [line for line in told[0].splitlines() if line.startswith("minorkey:")]
    assert str(broken) in line
    assert not any("Traceback" in text for text in launched.stderr)
    assert "exitcode  : 2" in launched.report.partition("Root Cause")[2]
    assert not RunFolder(tmp_path / "run").cost.exists()


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("3", "batch size 3 cannot be split over 2 processes"),
        ("auto", "training.batch_size is auto, which measures one"),
    ],
    ids=["before they are connected", "afterwards"],
)
def test_a_mistake_that_all_make_is_told_once(commands, tmp_path, size, told):
    asked = ("train", "demo_quick", f"training.batch_size={size}", "training.device=cpu", "--out", tmp_path / "run")
    launched = torchrun(tmp_path, *MODULE, *asked, warm=commands)
    assert launched.code != 0
    assert launched.stderr[1] == ""
    assert launched.stderr[0].splitlines()[-1].startswith(f"minorkey: {told}")
    assert not checkpoints(RunFolder(tmp_path / "run").checkpoints)


def test_rates_are_tried_after_one_that_diverged(make_config, commands, tmp_path):
    save_config(make_config(training={"steps": 2}), tmp_path / "run.yaml")
    asked = ("tune", tmp_path / "run.yaml", "--rates", "1e12,1e-3", "--out", tmp_path / "rates")
    launched = torchrun(tmp_path, *MODULE, *asked, warm=commands)
    assert launched.code == 0, launched.stderr
    assert launched.stderr[0].count(": diverged") == 1
    assert launched.stderr[1] == ""
    assert (tmp_path / "rates" / "tune.csv").is_file()


@pytest.mark.thorough
def test_a_script_that_leaves_after_its_last_word_ends_well(tmp_path):
    """The threads of the connection are ended before the interpreter; left alone, they abort every other such end."""
    script = tmp_path / "leaving.py"
    script.write_text(
        "from accelerate import PartialState\n"
        "from minorkey.system.processes import from_main\n"
        "PartialState(cpu=True)\n"
        "for _ in range(5):\n"
        "    from_main(lambda: list(range(1000)))\n"
    )
    launched = torchrun(tmp_path, script)
    assert launched.code == 0, launched.stderr
    assert launched.stderr == ["", ""]


@pytest.mark.thorough
def test_a_lost_process_is_noticed(tmp_path):
    """Killed from outside, without a word: the other does not wait for it."""
    script = tmp_path / "lost.py"
    script.write_text(
        "import os, signal\n"
        "from accelerate import PartialState\n"
        "from minorkey.system.processes import gathered, is_main\n"
        "PartialState(cpu=True)\n"
        "gathered([1.0])\n"
        "if not is_main():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "gathered([1.0])\n"
    )
    launched = torchrun(tmp_path, script)
    assert launched.code != 0
    assert "TrainingError: another process of this run has ended without a word" in launched.stderr[0]
    assert "SIGKILL" in launched.report
