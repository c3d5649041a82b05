"""What a launcher such as torchrun tells a process."""

import pytest


@pytest.mark.parametrize("verb", ["export", "report", "show", "spectrum"])
def test_work_of_one_process_is_refused_where_several_were_started(command, monkeypatch, verb):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = "minorkey: this is the work of one process, and 2 were started; leave torchrun out\n"
    assert command(verb, "runs/soma") == (2, said)
    monkeypatch.setenv("WORLD_SIZE", "1")  # as some clusters have it for a machine by itself
    assert "torchrun" not in command(verb, "runs/nowhere")[1]
