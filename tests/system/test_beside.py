"""Commands in processes of their own: as if each were started by itself."""

import io
import json
import os
from threading import Thread

import pytest

from minorkey.config import save_config
from minorkey.system import beside as module
from minorkey.system.beside import Beside, beside, dismiss, prepare
from minorkey.system.run_folder import RunFolder
from minorkey.training.checkpoint import checkpoints


@pytest.fixture(scope="module")
def process():
    with Beside() as started:
        yield started


def test_a_command_has_the_folder_and_environment_of_its_caller_and_says_how_it_ended(process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("source: world:nowhere\n")
    code, errors = process.run("train", "bad.yaml", threads=1)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "nowhere" in errors
    assert process.run("list", "methods", threads=1) == (0, "")
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, process.run("--no-such-option", threads=1)[1].splitlines())) == 50


def test_a_training_saves_where_it_is_asked_to_end_and_none_is_begun_any_more(make_config, tmp_path):
    save_config(make_config(training={"steps": 100_000, "checkpoint_every": 100_000}), tmp_path / "long.yaml")
    folder, ended = RunFolder(tmp_path / "run"), []
    command = ("train", str(tmp_path / "long.yaml"), "--out", str(folder.path))
    with Beside() as started:
        run = Thread(target=lambda: ended.append(started.run(*command, threads=1)))
        run.start()
        while not folder.log.is_file() or not folder.log.read_text().strip():
            run.join(timeout=0.05)
            assert run.is_alive(), ended
        started.end()
        run.join(timeout=60)
        ((code, errors),) = ended
        assert code == 130
        assert "and saved" in errors
        assert len(checkpoints(folder.checkpoints)) == 1
        started.end()
        assert started.run("list", "methods", threads=1)[0] == 1


def test_what_was_prepared_is_taken_once():
    prepare()
    with beside() as first, beside() as second:
        assert first is not second
        assert module._prepared == []
        first.end()
        second.end()
    prepare()
    (unused,) = module._prepared
    dismiss()
    assert module._prepared == []
    assert unused._server.poll() is not None


def test_where_nothing_is_forked_a_command_is_started(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(module, "FORKS", False)
    (tmp_path / "bad.yaml").write_text("source: world:nowhere\n")
    call = {"arguments": ["train", "bad.yaml"], "folder": str(tmp_path), "environment": dict(os.environ), "threads": 1}
    module._serve(io.StringIO(json.dumps(call)))
    number, said = capfd.readouterr().out.splitlines()
    assert int(number) > 0
    code, errors = json.loads(said)
    assert code == 2
    assert "nowhere" in errors
