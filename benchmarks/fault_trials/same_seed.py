"""The same seed gives the same bits, however the work is shared out, where the documentation says so."""

import os
import random
import sys

from fault_trials.child import run
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox, differences, outcome
from fault_trials.verdict import Verdict, fault_of

VARIANTS = ("again", "1 worker", "2 workers", "from another folder", "another hash seed", "with a cache of pixels")
KINDS = ("segmentation", "detection", "classification", "self_training", "transda")


def same_seed(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: a kind of run trained once more in another way; weights, scores and evidence bit for bit."""
    kind, variant = KINDS[index % len(KINDS)], VARIANTS[(index // len(KINDS)) % len(VARIANTS)]
    more, cwd = [], box.work
    if variant.endswith(("worker", "workers")):
        more = [f"training.workers={variant[0]}"]
    elif variant == "with a cache of pixels":
        more = ["data_cache=pixels"]
    elif variant == "from another folder":
        cwd = box.work / "a" / "ä b"
        cwd.mkdir(parents=True)
    arguments = ["train", str(material.config_file(kind)), *more, "--out", "run"]  # scores name their folder
    if variant == "another hash seed":  # a process of its own: it is set at its begin
        environment = os.environ | {"PYTHONHASHSEED": str(rng.randrange(1, 10**6))}
        end = run(lambda: os.execve(sys.executable, [sys.executable, "-m", "minorkey", *arguments], environment), cwd)
    else:
        end = run(arguments, cwd)
    what = f"train {kind}, {variant}"
    if end.code:
        return Verdict(what, fault_of(end)[0] or "dies", end.last)
    found, expected = outcome(cwd / "run"), outcome(material.run(kind))
    wrong = [
        name
        for name in differences(expected, found)[0]
        if name.endswith((".safetensors", ".jsonl")) or name == "metrics.json"
    ]
    return Verdict(what, "other bits" if wrong else "", ", ".join(wrong)[:300])
