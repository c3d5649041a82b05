"""What a launcher such as torchrun has told this process, known before torch is imported."""

import os
import sys
import time

GRACE = 10.0
"""Seconds for which a process that is not the main one gives way to it at the end."""


def is_launched_as_main() -> bool:
    """Whether this is the first process of those started together, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def is_silent() -> bool:
    """Whether an error of this process is another one's to tell.

    Until the processes are connected they all do the same, and fail with the same error, which the main process
    tells. Afterwards (see `processes.together`) an error is raised in the one process that met it.
    """
    distributed = sys.modules.get("torch.distributed")
    connected = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return not is_launched_as_main() and not connected


def give_way() -> None:
    """Wait for the main process to end, on which the launcher ends this one."""
    time.sleep(GRACE)
