"""What to do next: the commands are ones that there are."""

import shlex

import pytest
import typer

from minorkey.cli import app
from minorkey.cli.show import show_next
from minorkey.config import resolve, save_config
from minorkey.errors import DataError
from minorkey.reporting.next_steps import after_comparing, after_judging, after_predicting, after_training
from minorkey.reporting.page import report
from minorkey.reporting.runs import read_run


def is_a_command(line: str) -> bool:
    """Whether the command line takes it; an unknown verb or option raises."""
    program, verb, *arguments = shlex.split(line)
    with typer.main.get_command(app).commands[verb].make_context(verb, arguments):
        return program == "minorkey"


@pytest.fixture
def run(make_run):
    folder = make_run("soma", 0.9, images=1)
    return folder.rename(folder.with_name("my soma"))


def test_every_step_is_a_command(run, tmp_path):
    save_config(resolve("demo"), run / "config.yaml")
    steps = [
        *after_comparing([read_run(run)]),
        *after_training(run),
        *after_judging(run, run / "evaluations" / "1", robustness=False),
        *after_predicting(run, tmp_path),
    ]
    assert len(steps) > 10
    assert all(is_a_command(step.command) for step in steps)
    named = [any(part.startswith((str(run), "MYDATA")) for part in shlex.split(step.command)) for step in steps]
    assert all(named)


def test_methods_that_are_compared_lead_to_their_rates(make_run):
    runs = [make_run(method, 0.9, images=1) for method in ("frozen", "lora", "soma")]
    for run, method in zip(runs, ("frozen", "lora", "soma"), strict=True):
        save_config(resolve("demo", {"method": method}), run / "config.yaml")
    found = [step.command for step in after_comparing([read_run(run) for run in runs]) if " tune " in step.command]
    (command,) = found
    assert is_a_command(command)
    assert "config.yaml --methods lora,soma --rates " in command
    assert not [step for step in after_comparing([read_run(run) for run in runs[:2]]) if " tune " in step.command]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, True),
        ({"unseen": []}, False),
        ({"unseen": ["world:fog+night@2"]}, False),
        ({"pixels": {"range": [0, 4095]}}, False),
    ],
)
def test_corruptions_are_asked_of_where_they_can_be_judged(run, changes, asked):
    save_config(resolve("demo", changes), run / "config.yaml")
    for steps in (after_training(run), after_comparing([read_run(run)]), after_judging(run, run, robustness=False)):
        assert any("--robustness" in step.command for step in steps) == asked


def test_scores_under_corruptions_lead_to_their_page(run):
    (step,) = after_judging(run, run / "there", robustness=True)
    assert step.command == f"minorkey report {shlex.quote(str(run / 'there'))}"


def test_images_are_adapted_to_where_a_run_has_not(run, tmp_path):
    save_config(resolve("demo"), run / "config.yaml")
    adapt, judge = after_predicting(run, tmp_path)
    assert "--regime self_training" in adapt.command
    assert "--unseen" in judge.command
    assert list(after_predicting(run, tmp_path / "one.jpg")) == []
    save_config(resolve("demo", {"target": "world:night", "regime": "self_training"}), run / "config.yaml")
    assert [step.command for step in after_predicting(run, tmp_path)] == [judge.command]


def test_images_are_judged_by_the_data_set_around_them(run, tmp_path):
    save_config(resolve("demo"), run / "config.yaml")
    (tmp_path / "streets" / "images" / "val").mkdir(parents=True)
    *_, alone = after_predicting(run, tmp_path / "streets" / "images" / "val")
    assert alone.command.endswith("--unseen MYDATA")
    (tmp_path / "streets" / "labels").mkdir()
    *_, judge = after_predicting(run, tmp_path / "streets" / "images" / "val")
    assert judge.command.endswith(f"--unseen {shlex.quote(str(tmp_path / 'streets'))}")


def test_they_are_printed(run, capsys):
    show_next(after_training(run))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "what to do next"
    assert f"    minorkey predict {shlex.quote(str(run))} PHOTOS --out predicted" in lines


def test_a_folder_of_runs_is_reported_as_its_runs(make_run, tmp_path):
    runs = [make_run(method, 0.9, images=1) for method in ("lora", "soma")]
    for run in runs:
        save_config(resolve("demo", {"method": run.name.partition("-")[0]}), run / "config.yaml")
    together = report(runs, tmp_path / "listed.html").read_text()
    inside = report(runs[0].parent)
    assert inside == runs[0].parent / "report.html"
    assert inside.read_text() == together


def test_a_run_inside_that_has_not_ended_is_named_with_its_command(make_run, tmp_path):
    run = make_run("lora", 0.9, images=1)
    save_config(resolve("demo"), run / "config.yaml")
    (run / "metrics.json").unlink()
    (run / "training.json").unlink(missing_ok=True)
    (run / "checkpoints").mkdir()
    with pytest.raises(DataError, match=rf"has not ended; run `minorkey train --resume {run}` first"):
        report(run.parent, tmp_path / "page.html")
