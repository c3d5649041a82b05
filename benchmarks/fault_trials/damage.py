"""A file of a run is damaged: what uses it gives the same result as before, or refuses it in one line."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from fault_trials.child import End, run
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox, differences, outcome
from fault_trials.verdict import Verdict, fault_of

RUNS = ("segmentation", "detection", "full", "transda", "classification", "self_training", "segmentation")

Damage = Callable[[random.Random, Path, Path], str]


def _truncate(rng: random.Random, file: Path, other: Path) -> str:
    content = file.read_bytes()
    at = rng.randrange(len(content)) if content else 0
    file.write_bytes(content[:at])
    return f"cut at byte {at} of {len(content)}"


def _flip(rng: random.Random, file: Path, other: Path) -> str:
    content = bytearray(file.read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {at} of {len(content)} flipped"


def _flip_late(rng: random.Random, file: Path, other: Path) -> str:
    """In the tensors or pixels rather than in a header."""
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content) // 2, len(content))
    content[at] ^= 0xFF
    file.write_bytes(content)
    return f"byte {at} of {len(content)} inverted"


def _zero(rng: random.Random, file: Path, other: Path) -> str:
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content))
    length = min(len(content) - at, 64)
    content[at : at + length] = bytes(length)
    file.write_bytes(content)
    return f"{length} bytes from {at} of {len(content)} are zero"


def _empty(rng: random.Random, file: Path, other: Path) -> str:
    file.write_bytes(b"")
    return "empty"


def _delete(rng: random.Random, file: Path, other: Path) -> str:
    file.unlink()
    return "removed"


def _swap(rng: random.Random, file: Path, other: Path) -> str:
    shutil.copyfile(other if other.is_file() else file, file if other.is_file() else file.with_name("stray"))
    return "that of another run"


def _append(rng: random.Random, file: Path, other: Path) -> str:
    with file.open("ab") as opened:
        opened.write(rng.randbytes(40))
    return "40 bytes appended"


DAMAGES: tuple[Damage, ...] = (_flip_late, _truncate, _swap, _flip, _delete, _zero, _empty, _append)

USES: dict[str, list[str]] = {
    "predict": ["predict", "run", "PHOTOS", "--out", "out"],
    "evaluate": ["evaluate", "run", "--unseen", "DOMAIN", "--out", "out"],
    "export model": ["export", "run", "--to", "model", "--out", "out"],
    "export adapter": ["export", "run", "--to", "adapter", "--out", "out"],
    "report": ["report", "run", "--out", "out/page.html"],
    "resume": ["train", "--resume", "run"],
    "resume, finished": ["train", "--resume", "run"],
    "begin with it": ["train", "CONFIG", "--out", "out", "START"],
}
"""Commands that use a run."""

OPTIONAL = ("figures/", "report.html", "export/", "rounds/", "adapter/README.md")
"""Files a command may do without, as long as it does not show something else in their place."""


def damage(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: a file of a run, of a checkpoint, of pseudo-labels, of evidence; damaged; used."""
    kind, do = RUNS[index % len(RUNS)], DAMAGES[(index // len(RUNS)) % len(DAMAGES)]
    uses = [name for name in USES if kind != "full" or name != "export adapter"]
    use = rng.choice(uses)
    if use == "resume" or rng.random() < 0.25:
        use = "resume"
    folder = box.copy(material.run(kind), "run")
    if use == "resume":
        _unfinish(folder, rng)
    file = rng.choice(_used_by(use, folder))
    other = material.run(kind, seed=1) / file.relative_to(folder)
    name = str(file.relative_to(folder))
    expected = _undisturbed(kind, use, box, material)
    before = file.read_bytes()
    what = f"{kind}, {use}: {name} {do(rng, file, other)}"
    if file.is_file() and file.read_bytes() == before:
        return Verdict(f"{what} (the same bytes)")
    return _judge(what, name, use, do is _delete, _use(use, box, material, kind), expected, box)


def _used_by(use: str, folder: Path) -> list[Path]:
    """Files that could decide what the use gives, those of checkpoints as often as all others."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 16)
    if use != "resume":
        return [path for path in files if "checkpoints" not in path.parts and "rounds" not in path.parts]
    return files + [path for path in files if "checkpoints" in path.parts] * 2


def _unfinish(folder: Path, rng: random.Random) -> None:
    """As a run that was killed before its end: in training, or while it was judged."""
    for name in ("metrics.json", "training.json", "head.safetensors"):
        (folder / name).unlink(missing_ok=True)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    if rng.random() < 0.7:
        shutil.rmtree(sorted((folder / "checkpoints").iterdir())[-1])


def _use(use: str, box: Sandbox, material: Material, kind: str) -> End:
    places = {
        "PHOTOS": str(material.photos),
        "CONFIG": str(material.config_file(kind)),
        "DOMAIN": f"{material.classes}-night" if kind == "classification" else "world:fog",
        "START": "start_from=run",
    }
    return run([places.get(argument, argument) for argument in USES[use]], box.work)


def _results(use: str, box: Sandbox) -> dict[str, object]:
    return _decisive(outcome(box.work / ("run" if use.startswith("resume") else "out")))


def _decisive(found: dict[str, object]) -> dict[str, object]:
    """Without configurations, which name the folder of a run, and without sums of what is measured."""
    return {name: content for name, content in found.items() if not name.endswith(("config.yaml", "checksums.json"))}


def _undisturbed(kind: str, use: str, box: Sandbox, material: Material) -> dict[str, object]:
    """What the use gives of the undamaged run; a resumed one ends as it had."""

    def make(folder: Path) -> None:
        inner = Sandbox(folder / "sandbox")
        inner.copy(material.run(kind), "run")
        end = _use(use, inner, material, kind)
        if end.code:
            raise RuntimeError(f"'{use}' of {kind} fails undamaged: {end.text}")
        printed = {"(printed)": end.out} if use == "resume, finished" else {}
        (folder / "outcome.json").write_text(json.dumps(_results(use, inner) | printed))

    if use == "resume":  # ends as the run had ended
        return _decisive(outcome(material.run(kind)))
    place = material.made(f"used-{kind}-{use.replace(' ', '-')}", make)
    return dict(json.loads((place / "outcome.json").read_text()))


def _judge(
    what: str, name: str, use: str, removed: bool, end: End, expected: dict[str, object], box: Sandbox
) -> Verdict:
    why, detail = fault_of(end)
    if why or end.code:
        return Verdict(what, why, detail)
    found = _results(use, box)
    if use == "resume, finished":
        found["(printed)"] = end.out
    wrong, _ = differences(expected, found)
    if use.startswith("resume"):  # it lies there as it was, and was not used
        wrong = [file for file in wrong if file != name]
    if name == "log.jsonl":  # curves: what the run learnt does not depend on them
        wrong = [file for file in wrong if "curves" not in file and file not in ("log.jsonl", "page.html")]
    if removed and name == "metrics.json":  # a run that was not judged; its card has no scores
        wrong = [file for file in wrong if file != "README.md"]
    if removed and name.startswith(OPTIONAL):
        wrong = [file for file in wrong if not file.startswith(("figures/", "page.html"))]
    if not wrong:
        return Verdict(what)
    return Verdict(what, "silent", f"other {', '.join(wrong)[:200]}")
