"""A page of two tiny runs that is being served."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from minorkey.runs.train import train
from minorkey.show.page import page_server
from minorkey.show.server import PageServer


@pytest.fixture(scope="session")
def other_run(make_config, tmp_path_factory) -> Path:
    """A run beside `finished_run`, of another method and seed."""
    folder = tmp_path_factory.mktemp("other") / "frozen"
    train(make_config(method="frozen", seed=3, training={"steps": 1}), folder)
    return folder


Serve = Callable[..., Iterator[PageServer]]


@contextmanager
def serving(*arguments, **options) -> Iterator[PageServer]:
    """A server that answers until the block ends."""
    server = page_server(*arguments, **options)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def server(finished_run, other_run) -> Iterator[PageServer]:
    """The page of two runs."""
    with serving([finished_run.path, other_run]) as served:
        yield served
