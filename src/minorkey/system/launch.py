"""What a launcher such as torchrun sets for this process, known before torch is imported."""

import gc
import os
import sys
import time
from contextlib import suppress
from typing import NoReturn

from minorkey.errors import ConfigError

GRACE = 10.0
"""Seconds for which a process that is not the main one gives way to it at the end."""


def share_the_cores() -> None:
    """Let idle threads of torch sleep, before it is imported; they would spin, and stall where the cores are shared."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def collect_seldom() -> None:
    """Look for garbage less often than Python does: the imports make 400 000 objects that stay, and to look through
    them again and again took a sixth of the start."""
    gc.set_threshold(20_000, 10, 10)


def is_launched_as_main() -> bool:
    """Whether this is the first process of those started together, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def refuse_several() -> None:
    """Raise `ConfigError` where this process was started together with others."""
    if (count := os.environ.get("WORLD_SIZE", "1")) not in ("", "1"):
        raise ConfigError(f"this is the work of one process, and {count} were started; leave torchrun out")


def is_silent() -> bool:
    """Whether an error of this process is another one's to print for certain.

    Until the processes are connected they all do the same, and fail with the same error, which the main process prints.
    """
    return not is_launched_as_main() and not _is_connected()


def give_way(error: BaseException) -> None:
    """Let the main process print an error and end, on which the launcher ends this one.

    Not where this process alone met it (`MinorkeyError.alone`). Of others it is not known: after a while nobody else
    has had the error, and it is this process's to print.
    """
    if not is_launched_as_main() and not getattr(error, "alone", False):
        with suppress(KeyboardInterrupt):
            time.sleep(GRACE)


def leave(code: int) -> NoReturn:
    """End this process with an exit code.

    At once where it is connected to others: threads may still be exchanging something with one that failed, and the
    interpreter's own way out aborts where it meets them.
    """
    if not _is_connected():
        gc.freeze()  # on its way out the interpreter looks for garbage among all that was imported, for a second or two
        sys.exit(code)
    leave_at_once(code)


def leave_at_once(code: int) -> NoReturn:
    """End this process past the interpreter's own way out, which aborts where it meets threads at work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _is_connected() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()
