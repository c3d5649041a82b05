"""Several runs at a time, each on cores of its own: small networks gain more by that than by more threads."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import psutil
import torch
from rich.console import Console

from minorkey.config import RunConfig
from minorkey.data.workers import cores
from minorkey.errors import TrainingError
from minorkey.runs.settled import settled
from minorkey.runs.train import claim, train
from minorkey.system.beside import Beside, beside, dismiss
from minorkey.system.lock import locked
from minorkey.system.processes import from_main, process_count, speaker
from minorkey.system.run_folder import RunFolder
from minorkey.training.device import device_for

MEMORY = 1.5 * 2**30
"""Bytes that a small run may take, its process included."""

MOST = 4
"""Runs at a time: each renders, trains and judges by itself, and a demo has few."""


def jobs_for(config: RunConfig) -> int:
    """How many such runs a machine does at a time: one on a GPU, else as many as cores and memory allow."""
    if process_count() > 1 or device_for(config.training).type != "cpu":
        return 1
    return max(1, min(MOST, cores(), int(psutil.virtual_memory().available // MEMORY)))


def train_side_by_side(runs: Mapping[Path, RunConfig], jobs: int = 1, console: Console | None = None) -> None:
    """Train and judge several runs, in their order; what is finished is not done again.

    This process does one of them at a time and shows its progress; the other jobs are processes of their own, whose
    ends are told. Ctrl-C ends all of them after the step in progress, and the same call goes on from there.

    Args:
        runs: the configuration of each run folder.
        jobs: runs at a time; they share the cores evenly.
        console: where progress is shown; None: standard error.

    Raises:
        MinorkeyError: bad input, or a training that cannot go on; one line says what to do.
    """
    console = speaker(console)
    runs = {folder: settled(config, RunFolder(folder), console) for folder, config in runs.items()}
    for folder, config in runs.items():  # a folder of other runs is told before hours are spent beside it
        from_main(lambda folder=folder, config=config: _claim(RunFolder(folder), config))  # type: ignore[misc]
    waiting: Queue[Path] = Queue()
    for folder in (folder for folder in runs if not RunFolder(folder).finished):
        waiting.put(folder)
    jobs = max(1, min(jobs, waiting.qsize()))
    if jobs == 1:
        dismiss()
    with _threads(cores() // jobs if jobs > 1 else torch.get_num_threads()), _helpers(jobs - 1, waiting, console):
        for folder in _taken(waiting):
            train(runs[folder], folder, resume=True, console=console)


def _claim(folder: RunFolder, config: RunConfig) -> None:
    if folder.finished:
        claim(folder, config, resume=True)
        return
    with locked(folder.path):
        claim(folder, config, resume=True)


def _taken(waiting: "Queue[Path]") -> Iterator[Path]:
    """Folders from the queue until it is empty."""
    while True:
        try:
            yield waiting.get_nowait()
        except Empty:
            return


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Threads of torch, in this process and in those that it starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _helpers(count: int, waiting: "Queue[Path]", console: Console) -> Iterator[None]:
    """Further processes that take runs from the queue until it is empty; at the end they are waited for."""
    started: list[Beside] = []
    with ThreadPoolExecutor(max(1, count)) as pool:
        helping: list[Future[None]] = [pool.submit(_help, waiting, started, console) for _ in range(count)]
        try:
            yield
        except BaseException:
            list(_taken(waiting))  # nothing more is begun
            for process in started:
                process.end()
            raise
    for each in helping:
        each.result()


def _help(waiting: "Queue[Path]", started: list[Beside], console: Console) -> None:
    # The file that it reads was written, or compared, by `claim`: what it names from outside is the user's own choice.
    command = ["train", "--allow-outside", "--resume"]
    with beside() as process:
        started.append(process)
        for folder in _taken(waiting):
            code, errors = process.run(*command, str(folder), threads=torch.get_num_threads())
            if code:
                said = errors.strip().splitlines()
                list(_taken(waiting))
                raise TrainingError(f"the run in '{folder}' ended early: {said[-1] if said else 'it says nothing'}")
            console.print(f"'{folder.name}' is done as well", highlight=False)
