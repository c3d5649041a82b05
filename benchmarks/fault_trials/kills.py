"""A command that is killed at an event of the file system, or at any time, and begun again, ends with the same bits."""

import json
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from fault_trials.child import Call, End, command_line, run
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox, differences, outcome
from fault_trials.verdict import Verdict, fault_of
from fault_trials.watch import Events
from minorkey.runs.made import FOLDER
from minorkey.system.ours import RECORD

CASES = (
    "train segmentation", "train self_training", "train transda", "export model", "train detection", "predict",
    "train classification", "report", "train full", "export adapter", "evaluate", "data check",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command that writes a folder, and how it is begun again."""

    arguments: list[str]
    out: Path
    again: list[str]


def command(name: str, box: Sandbox, material: Material, out: str = "out") -> Command:
    """The command of a case, in a sandbox."""
    verb, _, kind = name.partition(" ")
    target = box.work / out
    if verb == "train":
        file = str(material.config_file(kind))
        return Command(["train", file, "--out", out], target, ["train", "--resume", out])
    if not (box.work / "run").exists():
        box.copy(material.run("segmentation"), "run")
    arguments = {
        "export": ["export", "run", "--to", kind, "--out", out],
        "report": ["report", "run", "--out", f"{out}/page.html"],
        "predict": ["predict", "run", str(material.photos), "--out", out],
        "evaluate": ["evaluate", "run", "--unseen", "world:fog", "--out", out],
        "data": ["data", "check", str(material.streets), "--workers", "0", "--out", out],
    }[verb]
    return Command(arguments, target, arguments)


def undisturbed(name: str, box: Sandbox, material: Material) -> tuple[int, float, dict[str, object]]:
    """Of the command without a kill: its events, its seconds, and what it wrote."""

    def make(folder: Path) -> None:
        inner = Sandbox(folder / "sandbox")
        called = command(name, inner, material)
        events, began = Events(inner.work), monotonic()

        def counted() -> None:
            code = command_line(called.arguments)
            (folder / "events").write_text(f"{events.count} {code}")

        end = run(counted, inner.work, prepare=events.begin, seconds=120)
        count, code = map(int, (folder / "events").read_text().split())
        if end.code or code:
            raise RuntimeError(f"'{name}' fails undisturbed: {end.text}")
        content = {"events": count, "seconds": monotonic() - began, "outcome": outcome(called.out)}
        (folder / "undisturbed.json").write_text(json.dumps(content))

    place = material.made(f"undisturbed-{name.replace(' ', '-')}", make)
    content = json.loads((place / "undisturbed.json").read_text())
    return content["events"], content["seconds"], content["outcome"]


def kill(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: killed once or twice, at events or at a time, by SIGKILL or by a power cut."""
    name = CASES[index % len(CASES)]
    count, seconds, expected = undisturbed(name, box, material)
    called = command(name, box, material)
    given = outcome(box.work / "run") if (box.work / "run").exists() else {}
    words, arguments, powerless = [], called.arguments, False
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.random()
        if kind < 0.75:
            at, cut = rng.randrange(max(1, count)), kind < 0.25
            words.append(f"{'by a power cut ' * cut}before event {at} of {count}")
            powerless |= cut
            end = _killed_at_event(arguments, box, at, cut)
        else:
            after = rng.uniform(0.1, seconds)
            words.append(f"after {after:.2f} s of {seconds:.2f}")
            end = _killed_after(arguments, box, after)
        if end.code not in (0, -signal.SIGKILL):
            return Verdict(f"{name}, killed {' and '.join(words)}", fault_of(end)[0] or "cannot go on", end.last)
        arguments = called.again
        if end.code == 0:
            break
    what = f"{name}, killed {' and '.join(words)}"
    end = _to_the_end(called, box)
    if end.code:
        return Verdict(what, fault_of(end)[0] or "cannot go on", end.last)
    wrong, added = differences(expected, outcome(called.out))
    if powerless:  # lines of the log may be lost with the power, and the page's curve with them
        wrong = [name for name in wrong if name.rsplit("/", 1)[-1] != "log.jsonl"]
    if given and outcome(box.work / "run") != given:
        return Verdict(what, "changes the run")
    hidden = (path.name for path in box.work.rglob(".*") if path.name not in (RECORD, FOLDER))
    remains = ", ".join(added) or ", ".join(hidden)
    return Verdict(what, f"other {wrong[0].rsplit('/', 1)[-1]}" if wrong else "", ", ".join(wrong)[:300], remains)


def _killed_at_event(arguments: list[str], box: Sandbox, at: int, cut: bool) -> End:
    def then() -> None:
        if cut:
            events.lose_unsynced()
        os.kill(os.getpid(), signal.SIGKILL)

    events = Events(box.work, at, then)
    return run(arguments, box.work, prepare=events.begin)


def _killed_after(arguments: list[str], box: Sandbox, seconds: float) -> End:
    call = Call(arguments, box.work)
    if not call.ends_within(seconds):
        call.kill()
    return call.wait()


def _to_the_end(called: Command, box: Sandbox) -> End:
    """Go on as the product says: resume, or begin where nothing had been claimed."""
    end = run(called.again, box.work)
    if end.code == 2 and "no run" in end.last:
        return run(called.arguments, box.work)
    return end
