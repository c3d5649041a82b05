"""What a training logs, in a tracker that its user has: TensorBoard, Weights & Biases, Trackio, MLflow.

A tracker is a guest: it starts offline, it is asked for nothing, and one that fails is left out while the training goes
on. `log.jsonl` has all of it in any case.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from numbers import Real
from typing import Any

import numpy as np
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from rich.console import Console

from minorkey.errors import ConfigError, printable
from minorkey.system.ours import refuse_links
from minorkey.system.processes import is_main
from minorkey.system.reading import read_json
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_json

PROJECT = "minorkey"
"""Under which the runs of all trackers are, but for TensorBoard's, which are by folder."""


@dataclass(frozen=True)
class Begun:
    """A run as its tracker is to know it."""

    folder: RunFolder
    name: str
    id: str  # no other run has it, wherever this one is moved to
    step: int  # after which it goes on
    former: str | None = None  # what the tracker itself called the run, when it began


@dataclass(frozen=True)
class TrackerKind:
    """A row: how a tracker of accelerate begins a run, or goes on with it.

    Args:
        settings: arguments of its class.
        pictures: arguments of its `log_images` beside the pictures; None: it takes none.
        own_id: what it calls a run that has begun, where it lets nobody choose.
    """

    settings: Callable[[Begun], dict[str, Any]]
    pictures: Mapping[str, Any] | None = None
    own_id: Callable[[Any], str] | None = None


def _tensorboard(run: Begun) -> dict[str, Any]:
    again = {"purge_step": run.step + 1} if run.step else {}
    return {"run_name": "tensorboard", "logging_dir": run.folder.tracked, **again}


def _wandb(run: Begun) -> dict[str, Any]:
    mode = os.environ.get("WANDB_MODE", "offline")
    place = {"dir": str(run.folder.tracked), "mode": mode}
    return {"run_name": PROJECT, "name": run.name, "id": run.id, "resume": "allow", **place}


def _trackio(run: Begun) -> dict[str, Any]:
    return {"run_name": PROJECT, "name": f"{run.name}-{run.id}", "resume": "allow"}


def _mlflow(run: Begun) -> dict[str, Any]:
    return {"experiment_name": PROJECT, "run_name": run.name, "run_id": run.former}


TRACKERS: dict[str, TrackerKind] = {
    "tensorboard": TrackerKind(_tensorboard, pictures={"dataformats": "NHWC"}),
    "wandb": TrackerKind(_wandb, pictures={}),
    "trackio": TrackerKind(_trackio),
    "mlflow": TrackerKind(_mlflow, own_id=lambda tracker: str(tracker.info.run_id)),
}
"""By the name of their package too."""


@dataclass
class Tracking:
    """The trackers of a run, in the process that writes; in others there are none."""

    console: Console
    trackers: dict[str, GeneralTracker] = field(default_factory=dict)

    def note(self, record: Mapping[str, Any]) -> None:
        """The numbers of a record of the log, at its step."""
        values = dict(_numbers({key: value for key, value in record.items() if key != "step"}))
        if values:
            self._each(lambda name, tracker: tracker.log(values, step=record["step"]))

    def picture(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Pictures `(H, W, 3)` uint8 by their names, in the trackers that take any."""

        def show(name: str, tracker: Any) -> None:
            settings = TRACKERS[name].pictures
            if settings is not None:
                tracker.log_images({key: picture[None] for key, picture in pictures.items()}, step=step, **settings)

        self._each(show)

    def close(self) -> None:
        """End the run in all of them; it may be gone on with."""
        self._each(lambda name, tracker: tracker.finish())

    def _each(self, do: Callable[[str, GeneralTracker], None]) -> None:
        for name in list(self.trackers):
            with self.left_out_if_it_fails(name):
                do(name, self.trackers[name])

    @contextmanager
    def left_out_if_it_fails(self, name: str) -> Iterator[None]:
        """A tracker that fails in here is told, and not asked again."""
        try:
            yield
        except Exception as error:
            self.trackers.pop(name, None)
            reason = printable((str(error).strip() or type(error).__name__).splitlines()[0])
            line = f"warning: tracker {name} failed and is left out, the training goes on: {reason}"
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that is not installed.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(f"training.track is {name}, which is not installed; pip install {name}, or leave it out")


@contextmanager
def tracking(
    names: Sequence[str], folder: RunFolder, config: Mapping[str, Any], console: Console, step: int = 0
) -> Iterator[Tracking]:
    """Trackers that begin a run, or go on with that of the folder, and end it.

    Args:
        names: of `TRACKERS`.
        folder: of the run.
        config: what is told of it when it begins.
        console: where it is told that a tracker fails.
        step: after which the run goes on.
    """
    tracked = Tracking(console)
    if is_main():
        for name in dict.fromkeys(names):
            with tracked.left_out_if_it_fails(name):
                tracked.trackers[name] = _begin(name, folder, config, step)
    try:
        yield tracked
    finally:
        tracked.close()


def _begin(name: str, folder: RunFolder, config: Mapping[str, Any], step: int) -> GeneralTracker:
    """A tracker with its run, which is told the configuration once."""
    refuse_links(folder.path, [path.name for path in (folder.tracked, folder.tracked_as)])
    folder.tracked.mkdir(parents=True, exist_ok=True)
    known = _known(folder)
    shown = folder.path.name if folder.run is None else f"{folder.run.name}-round-{folder.path.name}"
    identity = known.get("id") or secrets.token_hex(4)
    kind = TRACKERS[name]
    tracker = LOGGER_TYPE_TO_CLASS[name](**kind.settings(Begun(folder, shown, identity, step, known.get(name))))
    tracker.start()
    if name not in known:
        if name == "tensorboard":  # its table of hyperparameters would be a run of its own
            tracker.log({"config": "\n".join(f"    {key}: {value}" for key, value in _leaves(config))}, step=0)
        else:
            tracker.store_init_configuration(dict(_leaves(config)))
        own = kind.own_id(tracker.tracker) if kind.own_id else identity
        write_json(folder.tracked_as, known | {"id": identity, name: own})
    return tracker


def _known(folder: RunFolder) -> dict[str, str]:
    """What the run is called, by tracker, with its `id`."""
    if not folder.tracked_as.is_file():
        return {}
    values = read_json(folder.tracked_as, "remove it: the run is then a new one to its trackers")
    return {str(name): str(value) for name, value in values.items()}


def _numbers(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested values, by the way to them: `scores/night`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{above}{key}/")
        elif isinstance(value, Real) and not isinstance(value, bool):
            yield f"{above}{key}", float(value)


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by the way to them, those that are no numbers or names as text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, (int, float, str)) else str(value)
