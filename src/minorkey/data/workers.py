"""How a process that reads data starts."""

import signal

import torch


def start_worker(worker_id: int) -> None:
    """One torch thread per worker; Ctrl-C is left to the main process, which saves before it stops."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
