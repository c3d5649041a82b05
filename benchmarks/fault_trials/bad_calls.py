"""Calls from Python with bad arguments: a MinorkeyError, or Python's own TypeError for what is no such argument."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fault_trials.child import run
from fault_trials.grammar import SCALARS, value
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox
from fault_trials.verdict import Verdict, fault_of

OWN = (TypeError,)
"""Errors of Python's own that are right where an argument is of a wrong type."""


def _images(rng: random.Random) -> Any:
    """Something in place of an image."""
    shapes = [
        (0, 0, 3),
        (0, 5, 3),
        (5, 0, 3),
        (5, 5),
        (5, 5, 1),
        (5, 5, 4),
        (5, 5, 3, 1),
        (),
        (3,),
        (1, 1, 3),
        (3, 8, 8),
        (1, 4000, 3),
    ]
    types = [np.uint8, np.float32, np.float64, np.int64, np.uint16, bool, complex, object, "U3"]
    arrays = [np.zeros(shape, rng.choice(types)) for shape in shapes]
    bad = np.full((8, 8, 3), rng.choice([np.nan, np.inf, -1.0, 1e30]))
    return rng.choice(
        [
            *arrays,
            *arrays,
            bad,
            None,
            5,
            "",
            "nothing.png",
            b"abc",
            [],
            [None],
            {},
            Path("/"),
            Path("/dev/zero"),
            object(),
        ]
    )


def _predict(rng: random.Random, run_folder: str) -> Callable[[], object]:
    given, many, probabilities = _images(rng), rng.random() < 0.3, rng.choice((False, True))
    return _named(
        f"predict({_word(given)}, many={many})",
        lambda: _model(run_folder).predict([given] if many else given, probabilities=probabilities),
    )


def _model(run_folder: str) -> Any:
    import minorkey

    return minorkey.load(run_folder)


def _load(rng: random.Random, run_folder: str) -> Callable[[], object]:
    import minorkey

    options: dict[str, Any] = rng.choice(({}, {}, {"device": rng.choice(("abc", "cuda", "meta", "", 5, None))}))
    given = run_folder if options else rng.choice([*SCALARS, Path("x"), b"x", [], {}])
    return _named(f"load({_word(given)}, {options})", lambda: minorkey.load(given, **options))


def _train(rng: random.Random, run_folder: str) -> Callable[[], object]:
    import minorkey

    key = rng.choice(
        (
            "source",
            "target",
            "unseen",
            "method",
            "head",
            "backbone",
            "label_space",
            "task",
            "seed",
            "training",
            "transform",
            "evaluation",
            "regime",
            "start_from",
            "head_from",
            "abc",
            "data_root",
        )
    )
    given = value(rng)
    return _named(
        f"train({key}={_word(given)})",
        lambda: minorkey.train(
            "demo_quick", out="out", **{"training": {"steps": 1}, "evaluation": {"images": 1}, key: given}
        ),
    )


def _resolve(rng: random.Random, run_folder: str) -> Callable[[], object]:
    import minorkey

    preset, overrides = rng.choice([*SCALARS, "demo_quick"]), {str(value(rng))[:20]: value(rng)}
    return _named(f"resolve({_word(preset)}, {_word(overrides)})", lambda: minorkey.resolve(preset, overrides))


def _attach(rng: random.Random, run_folder: str) -> Callable[[], object]:
    import torch
    from torch import nn

    import minorkey

    networks: dict[str, Callable[[], nn.Module]] = {
        "no layers": nn.Sequential,
        "meta": lambda: nn.Sequential(nn.Linear(8, 8, device="meta"), nn.Linear(8, 8, device="meta")),
        "zero": lambda: _zeroed(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))),
        "NaN": lambda: _zeroed(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), torch.nan),
        "tiny": lambda: nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)),
        "half": lambda: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).half(),
    }
    name, layers = (
        rng.choice(sorted(networks)),
        rng.choice([{"fc1": ["0", "1"]}, {"fc1": ["nothing"]}, {"fc1": []}, {}, {"fc1": ["0"]}, {"no role": ["0"]}]),
    )
    options = {
        "name": rng.choice(("soma", "lora", "pissa", "dora")),
        "rank": rng.choice((1, 4, 8, 9, 10**6)),
        "first_block": 0,
        "layers": layers,
    }

    def do() -> None:
        minorkey.attach(networks[name](), minorkey.MethodOptions(**options))

    return _named(f"attach({name}, {options})", do)


def _zeroed(network: Any, number: float = 0.0) -> Any:
    for parameter in network.parameters():
        parameter.data.fill_(number)
    return network


def _after(rng: random.Random, run_folder: str) -> Callable[[], object]:
    import minorkey

    name = rng.choice(("evaluate", "report", "export_run", "survey", "demo", "BatchPredictor"))
    given = rng.choice([*SCALARS, [], {}, Path("nothing"), [run_folder, "nothing"], b"x"])
    extra: dict[str, dict[str, Any]] = {
        "evaluate": {"out": "out"},
        "report": {"out": "page.html"},
        "export_run": {"to": rng.choice(("adapter", "abc", None))},
        "survey": {"images": rng.choice((0, -1)), "out": Path("out")},
        "demo": {"task": given},
        "BatchPredictor": {},
    }
    call = getattr(minorkey, name)
    arguments = () if name == "demo" else (given,)
    return _named(f"{name}({_word(given)})", lambda: call(*arguments, **extra[name]))


def _word(given: Any) -> str:
    return f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else repr(given)[:60]


def _named(name: str, do: Callable[[], object]) -> Callable[[], object]:
    do.__name__ = name
    return do


CALLS = (_predict, _predict, _load, _train, _train, _resolve, _attach, _after)


def call(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A function of the package with a bad argument."""
    from pydantic import ValidationError

    box.copy(material.run(rng.choice(("segmentation", "detection", "classification"))), "run")
    do = rng.choice(CALLS)(rng, "run")

    def guarded() -> None:
        try:
            do()
        except OWN as error:
            print(f"{type(error).__name__}: {error}")
        except ValidationError as error:  # of `MethodOptions`, which is a model of pydantic for the user too
            if not do.__name__.startswith("attach"):
                raise
            print(error.error_count())

    end = run(guarded, box.work)
    return Verdict(f"Python: {do.__name__}", *fault_of(end))
