"""Signals, streams, disks and neighbours: what happens around a command, and must not cost what it made."""

import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from fault_trials.child import Call, End, run
from fault_trials.kills import command, undisturbed
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox, changes, differences, outcome, state
from fault_trials.verdict import Verdict, fault_of

TRAINED = ("segmentation", "detection", "self_training", "transda", "classification")
WRITERS = ("predict", "export model", "report", "evaluate", "export adapter")
NOBODY = 65534

Disturbance = Callable[[random.Random, Sandbox, Material], Verdict]


def disturb(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: the kinds take turns."""
    return KINDS[index % len(KINDS)](rng, box, material)


def _ends_as_undisturbed(
    what: str, case: str, box: Sandbox, material: Material, first: End, out: str = "out", *, kept: bool = True
) -> Verdict:
    """After whatever happened the same command, begun again, comes to the same result.

    Not `kept`: a checkpoint was saved besides, so that the last two are other ones.
    """
    why, detail = fault_of(first)
    if why and why != "dies":
        return Verdict(what, why, detail)
    called = command(case, box, material, out)
    end = run(called.again, box.work)
    if end.code == 2 and "no run" in end.last:
        end = run(called.arguments, box.work)
    if end.code:
        return Verdict(what, fault_of(end)[0] or "cannot go on", end.last)
    found = differences(undisturbed(case, box, material)[2], outcome(called.out))
    wrong, added = ([name for name in names if kept or not name.startswith("checkpoints/")] for names in found)
    return Verdict(
        what, f"other {wrong[0].rsplit('/', 1)[-1]}" if wrong else "", ", ".join(wrong)[:300], ", ".join(added)
    )


def _lines(log: Path) -> int:
    return len(log.read_bytes().splitlines()) if log.is_file() else 0


def _until(call: Call, what: Callable[[], bool], seconds: float = 30) -> bool:
    end = monotonic() + seconds
    while call.running() and monotonic() < end:
        if what():
            return True
        sleep(0.003)
    return False


def _signal(number: int) -> Disturbance:
    def trial(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
        """The signal comes in training: what was learnt is saved, and the line says how to go on."""
        kind = rng.choice(TRAINED)
        called = command(f"train {kind}", box, material)
        call = Call(called.arguments, box.work)
        step = rng.randrange(1, 4)
        _until(call, lambda: _lines(called.out / "log.jsonl") >= step)
        call.send(number)
        end = call.wait()
        name = signal.Signals(number).name
        what = f"{name} at step {step} of train {kind}"
        if end.code not in (0, 130, 128 + number, -number, 2):
            return Verdict(what, fault_of(end)[0] or "dies", f"{end.code}: {end.last}")
        if end.code == -number:
            return Verdict(what, "dies", f"of {name}, without saving")
        return _ends_as_undisturbed(what, f"train {kind}", box, material, end, kept=False)

    return trial


def _stream(number: int, broken: str) -> Disturbance:
    def trial(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
        """Standard output or error is lost; the command does its work all the same."""
        case = rng.choice([f"train {kind}" for kind in TRAINED] + list(WRITERS))
        called = command(case, box, material)

        def prepare() -> None:
            if broken == "closed":
                os.close(number)
                for name in ("{}", "__{}__"):  # as Python begins without it
                    setattr(sys, name.format(("stdout", "stderr")[number - 1]), None)
                return
            if broken == "a full disk":
                target = os.open("/dev/full", os.O_WRONLY)
            else:
                reading, target = os.pipe()
                os.close(reading)
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python begins
            os.dup2(target, number)

        end = run(called.arguments, box.work, prepare=prepare)
        what = f"{case} with standard {('output', 'error')[number - 1]} {broken}"
        wrong, _ = differences(undisturbed(case, box, material)[2], outcome(called.out))
        if wrong:
            return Verdict(what, "work lost", f"exit code {end.code}; {', '.join(wrong)[:200]}; {end.last[:100]}")
        why, detail = fault_of(end)
        # Python itself ends with 120 where what was printed at last cannot be flushed.
        return Verdict(what, "" if end.code in (0, 120) else why or "dies", detail or f"exit code {end.code}")

    return trial


def _small_files(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """The file system takes no file beyond some size: one line, and afterwards it goes on."""
    case = rng.choice([f"train {kind}" for kind in TRAINED] + ["export model", "export adapter", "predict"])
    size = rng.choice((0, 100, 3_000, 20_000, 70_000))
    called = command(case, box, material)

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    end = run(called.arguments, box.work, prepare=prepare)
    what = f"{case} where no file is larger than {size} bytes"
    return _ends_as_undisturbed(what, case, box, material, end)


def _full_disk(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A disk of so many bytes; where none can be mounted, as without it."""
    case = rng.choice(["train segmentation", "train transda", "export model", "predict", "report"])
    size, disk = rng.choice((40_960, 200_000, 400_000)), box.work / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size={size} tmpfs '{disk}' 2>/dev/null"):
        return _small_files(rng, box, material)
    try:
        first = run(command(case, box, material, "disk/out").arguments, box.work)
        os.system(f"mount -o remount,size=50m '{disk}'")
        what = f"{case} on a disk of {size} bytes"
        return _ends_as_undisturbed(what, case, box, material, first, "disk/out")
    finally:
        os.system(f"umount --lazy '{disk}'")


def _read_only(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """The folder to write belongs to someone else."""
    case = rng.choice([f"train {rng.choice(TRAINED)}", *WRITERS])
    called = command(case, box, material)
    called.out.mkdir()
    (called.out / "theirs.txt").write_text("theirs")
    for path in (box.root, box.root.parent):
        path.chmod(0o755)

    def prepare() -> None:
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    for path in (box.root / "home", box.root / "tmp"):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    called.out.chmod(0o555)
    before = state(called.out)
    end = run(called.arguments, box.work, prepare=prepare)
    why, detail = fault_of(end)
    if not why and end.code != 2:
        why, detail = "silent", f"exit code {end.code}"
    if state(called.out) != before:
        why, detail = "writes", ", ".join(changes(before, state(called.out)))
    return Verdict(f"{case} into a folder that is read only", why, detail)


def _vanishing(replaced: bool) -> Disturbance:
    def trial(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
        """The run folder is removed, or another one lies in its place, while the run goes on: said in one line."""
        kind, step = rng.choice(TRAINED[:4]), rng.randrange(1, 4)
        called = command(f"train {kind}", box, material)
        call = Call(called.arguments, box.work)
        _until(call, lambda: _lines(called.out / "log.jsonl") >= step)
        os.kill(call.pid, signal.SIGSTOP)
        gone = box.work / "gone"
        if called.out.exists():
            called.out.rename(gone)
        if replaced:
            called.out.mkdir()
            (called.out / "theirs.txt").write_text("theirs")
        os.kill(call.pid, signal.SIGCONT)
        end = call.wait()
        what = f"train {kind}, its folder {'replaced' if replaced else 'moved away'} at step {step}"
        why, detail = fault_of(end)
        made = sorted(path.name for path in called.out.iterdir()) if called.out.exists() else []
        if not why and end.code == 0:
            why, detail = "silent", f"ends well, in {made}"
        if replaced and set(made) - {"theirs.txt"}:
            why, detail = why or "writes into another folder", detail or str(made)
        return Verdict(what, why, detail)

    return trial


def _neighbour(resumes: bool) -> Disturbance:
    def trial(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
        """A second process for the same folder is refused in one line, and the first is not disturbed."""
        kind, step = rng.choice(TRAINED), rng.randrange(0, 3)
        called = command(f"train {kind}", box, material)
        first = Call(called.arguments, box.work)
        wanted = step if resumes else 0
        _until(first, lambda: (called.out / "config.yaml").is_file() and _lines(called.out / "log.jsonl") >= wanted)
        second = run(called.again if resumes else called.arguments, box.work)
        end = first.wait()
        what = f"{'--resume' if resumes else 'the same command'} beside train {kind} at step {wanted}"
        if end.code:
            return Verdict(what, "the first dies", f"{end.last[:150]} / the second: {second.last[:150]}")
        if second.code != 2 or fault_of(second)[0]:
            return Verdict(what, fault_of(second)[0] or "both go on", f"{second.code}: {second.last[:200]}")
        wrong, added = differences(undisturbed(f"train {kind}", box, material)[2], outcome(called.out))
        return Verdict(what, f"other {wrong[0]}" if wrong else "", ", ".join(wrong)[:300], ", ".join(added))

    return trial


PRECIOUS: dict[str, Callable[[Sandbox], tuple[list[str], list[str]]]] = {
    "report over a text of the user's": lambda box: (["report", "run", "--out", "notes.txt"], ["notes.txt"]),
    "report over the run's own head": lambda box: (
        ["report", "run", "--out", "run/head.safetensors"],
        ["run/head.safetensors"],
    ),
    "report over a configuration": lambda box: (["report", "run", "--out", "run/config.yaml"], ["run/config.yaml"]),
    "evaluate over another run": lambda box: (
        ["evaluate", "run", "--unseen", "world:fog", "--out", "other"],
        ["other"],
    ),
    "train into a folder with an adapter": lambda box: (["train", "CONFIG", "--out", "."], ["adapter", "notes.txt"]),
    "train into a folder with a head": lambda box: (["train", "CONFIG", "--out", "mine"], ["mine"]),
    "predict into a folder of the user's": lambda box: (["predict", "run", "PHOTOS", "--out", "."], ["classes.json"]),
    "predict over a page of the user's": lambda box: (["predict", "run", "PHOTOS", "--out", "."], ["predictions.html"]),
    "predict over pictures of the user's": lambda box: (
        ["predict", "run", "PHOTOS", "--out", "."],
        ["overlays", "ids"],
    ),
    "export over a model of the user's": lambda box: (["export", "run", "--out", "mine"], ["mine"]),
    "data check over a page of the user's": lambda box: (
        ["data", "check", "STREETS", "--workers", "0", "--out", "."],
        ["check.html"],
    ),
    "data check over a table of the user's": lambda box: (
        ["data", "check", "STREETS", "--workers", "0", "--out", "."],
        ["check.json"],
    ),
    "spectrum over tables of the user's": lambda box: (
        ["spectrum", "run", "--images", "0", "--out", "."],
        ["weights.json", "weights.csv"],
    ),
}


def precious(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A command whose --out holds something of the user's: refused, or done beside it."""
    name = rng.choice(sorted(PRECIOUS))
    arguments, kept = PRECIOUS[name](box)
    box.copy(material.run("segmentation"), "run")
    box.copy(material.run("segmentation", seed=1), "other")
    for file in ("mine/head.safetensors", "mine/adapter/adapter_model.safetensors", "adapter/adapter_config.json",
                 "overlays/0.jpg", "ids/0.png", "classes.json", "predictions.html", "check.html", "check.json",
                 "weights.json", "weights.csv"):  # fmt: skip
        (box.work / file).parent.mkdir(parents=True, exist_ok=True)
        (box.work / file).write_text("mine")
    places = {
        "CONFIG": material.config_file("segmentation"), "PHOTOS": material.photos, "STREETS": material.streets,
    }  # fmt: skip
    before = state(box.work)
    end = run([str(places.get(argument, argument)) for argument in arguments], box.work)
    after = state(box.work)
    lost = [name for name in before if after.get(name) != before[name]]
    why, detail = fault_of(end)
    mine = [name for name in lost if any(f"{name}/".startswith(f"{file}/") for file in kept)]
    if not why and (mine or lost):
        why, detail = "overwrites", f"exit code {end.code}: {', '.join(mine or lost)[:200]}"
    return Verdict(name, why, detail)


def other_results(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """Predictions of another model, or of other images, in the folder are not called done."""
    by_model = rng.random() < 0.5
    box.copy(material.run("segmentation"), "run")
    box.copy(material.run("full"), "other")
    box.copy(material.photos, "photos")
    run(["predict", "other" if by_model else "run", "photos", "--out", "out"], box.work)
    if not by_model:
        names = [f"{number}.png" for number in range(3)]
        for name, content in zip(
            names, [(box.work / "photos" / name).read_bytes() for name in names[1:] + names[:1]], strict=True
        ):
            (box.work / "photos" / name).write_bytes(content)
    end = run(["predict", "run", "photos", "--out", "out"], box.work)
    what = f"predict into results of {'another model' if by_model else 'other images'}"
    fresh = run(["predict", "run", "photos", "--out", "fresh"], box.work)
    assert fresh.code == 0, fresh.text
    why, detail = fault_of(end)
    if not why and end.code == 0:
        wrong, _ = differences(outcome(box.work / "fresh" / "ids"), outcome(box.work / "out" / "ids"))
        why, detail = ("silent", f"{wrong} are not this run's") if wrong else ("", "")
    return Verdict(what, why, detail)


KINDS: list[Disturbance] = [
    _signal(signal.SIGINT), _signal(signal.SIGTERM), _signal(signal.SIGHUP),
    _stream(1, "a broken pipe"), _stream(2, "a broken pipe"), _stream(1, "a full disk"), _stream(2, "a full disk"),
    _stream(1, "closed"), _stream(2, "closed"),
    _small_files, _full_disk, _read_only, _vanishing(False), _vanishing(True), _neighbour(False), _neighbour(True),
    precious, other_results, precious,
]  # fmt: skip
