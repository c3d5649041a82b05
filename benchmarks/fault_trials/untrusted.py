"""Data sets, runs and archives that mean harm: nothing of theirs is executed, nothing read or written outside."""

import random
import resource
import sys
from itertools import chain, zip_longest

from PIL import Image

from fault_trials.attack import EVIL
from fault_trials.child import run
from fault_trials.harmful_data import DATA
from fault_trials.harmful_runs import RUNS
from fault_trials.material import Material, noise
from fault_trials.sandbox import SECRET, Sandbox, changes, state
from fault_trials.verdict import Verdict, fault_of
from fault_trials.watch import Watch

ATTACKS = [attack for attack in chain.from_iterable(zip_longest(DATA, RUNS)) if attack]

MEMORY = 700 << 20
"""Bytes that a command may take beyond those of the process it was forked from."""


def untrusted(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: attacks take turns; their variants are drawn."""
    attack = ATTACKS[index % len(ATTACKS)](rng, box, material)
    picture = box.outside / "secret.png"
    if not picture.exists():
        Image.fromarray(noise(7, 48, 64)).save(picture)
    marker = box.outside / "executed"
    module = box.root / "path" / "mine"
    module.mkdir(parents=True)
    (module / "evil.py").write_text(EVIL.format(marker=str(marker)))
    before, own = state(box.outside), _memory()
    inside = [box.work, box.root / "home", box.root / "tmp"]
    for command in attack.commands:
        watch = Watch(inside, [box.secret, picture, *attack.secrets])
        end = run(command, box.work, prepare=lambda: sys.path.insert(0, str(module.parent)), watch=watch)
        what = f"{attack.what} ({' '.join(command[:2])})"
        if end.seen:
            return Verdict(what, _kind(end.seen[0]), end.seen[0][:200])
        if changed := changes(before, state(box.outside)):
            return Verdict(what, "executes" if marker.exists() else "writes outside", ", ".join(changed)[:200])
        if SECRET in end.text:
            return Verdict(what, "shows a secret", end.last[:200])
        if end.peak - own > MEMORY:
            return Verdict(what, "takes memory", f"{(end.peak - own) >> 20} MB")
        why, detail = fault_of(end)
        if why:
            return Verdict(what, why, detail)
        for page in (*box.work.rglob("*.html"), *box.work.rglob("*.md")) if attack.raw else ():
            if attack.raw in page.read_text(errors="replace"):
                return Verdict(what, "markup on a page", page.name)
    return Verdict(attack.what)


def _kind(note: str) -> str:
    return {"reads": "reads outside", "writes": "writes outside"}.get(note.split()[0], note.split()[0])


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
