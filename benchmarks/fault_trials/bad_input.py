"""Bad input over every command and call: one line and exit code 2, or done; `data check` passes what trains."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from fault_trials.bad_calls import call
from fault_trials.child import run
from fault_trials.grammar import SCALARS, alike, as_json, as_yaml, garbled, mutated, on_command_line, value
from fault_trials.material import Material, noise
from fault_trials.sandbox import Sandbox, state
from fault_trials.verdict import Verdict, fault_of, is_usage, no_fault, refused

Generator = Callable[[random.Random, Sandbox, Material], Verdict]

QUICK = ["training.steps=1", "training.checkpoint_every=1", "evaluation.source=false", "evaluation.images=1",
         "evaluation.pictures=0", "method.rank=2"]  # fmt: skip

LONG = ("training.steps", "training.workers", "self_training.", "transda.")
"""Keys under which a large value is right, and takes its time."""


def bad_input(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: the generators take turns, as often as they are named."""
    return GENERATORS[index % len(GENERATORS)](rng, box, material)


def _tree() -> dict[str, Any]:
    """The configuration as nested values, all keys of it."""
    from minorkey.config import resolve

    return resolve("demo_quick").model_dump(mode="json")


def _leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        return [leaf for key, child in node.items() for leaf in _leaves(child, f"{path}.{key}" if path else key)]
    return [(path, node)]


def _setting(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A key of the configuration with a wrong value, in a command that takes settings."""
    key, right = rng.choice([leaf for leaf in _leaves(_tree()) if leaf[0] not in ("backbone.name", "source")])
    wrong = rng.choice((value(rng), alike(rng, right), rng.choice(SCALARS)))
    if key.startswith(LONG) and isinstance(wrong, (int, float)) and not isinstance(wrong, bool) and wrong > 1:
        wrong = -wrong
    text = f"{key}={on_command_line(wrong)}"
    command = rng.choice(("train", "train", "check", "evaluate"))
    if command == "evaluate":
        box.copy(material.run("segmentation"), "run")
        arguments = ["evaluate", "run", "evaluation.images=1", text, "--out", "out"]
    else:
        file = str(material.config_file(rng.choice(("segmentation", "self_training", "detection"))))
        begin = ["train", file, *QUICK] if command == "train" else ["data", "check", file, "--workers", "0"]
        arguments = [*begin, text, *(["--out", "out"] if command == "train" else [])]
    end = run(arguments, box.work)
    is_number = isinstance(right, (int, float)) and not isinstance(right, bool)
    what = f"{command} {text[:120]}"
    return refused(what, end) if is_number and isinstance(wrong, (list, dict)) else no_fault(what, end)


PLACES = (
    "",
    ".",
    "nothing",
    "notes.txt",
    "nothing/at/all",
    "/dev/null",
    "/dev/zero",
    "photos",
    "run/config.yaml",
    "run/head.safetensors",
    "x" * 300,
    "a\x1b[31mb",
    "new\nline",
    "*.zzz",
    "[",
    "world:clear",
    "hf:",
    "../outside/secret.txt",
    "loop",
    "fifo",
    "é" * 90,
    "run/checkpoints",
    "~nobody/x",
    "-",
    "nothing:val",
    "photos+fog@9",
    "photos+nofog@1",
)
"""What may be given in place of a run, a folder, an image or a data set."""

VERBS: dict[str, list[str]] = {
    "train": ["train", "?", "--out", "out"],
    "train out": ["train", "CONFIG", "--out", "?"],
    "train source": ["train", "CONFIG", *QUICK, "--source", "?", "--out", "out"],
    "train target": ["train", "CONFIG", *QUICK, "--target", "?", "--regime", "self_training", "--out", "out"],
    "train unseen": ["train", "CONFIG", *QUICK, "--unseen", "?", "--out", "out"],
    "train backbone": ["train", "CONFIG", *QUICK, "--backbone", "?", "--out", "out"],
    "train data root": ["train", "CONFIG", *QUICK, "--data-root", "?", "--source", "camvid", "--out", "out"],
    "train method": ["train", "CONFIG", *QUICK, "--method", "?", "--out", "out"],
    "train regime": ["train", "CONFIG", *QUICK, "--regime", "?", "--out", "out"],
    "train seed": ["train", "CONFIG", *QUICK, "--seed", "?", "--out", "out"],
    "train label space": ["train", "CONFIG", *QUICK, "label_space=?", "--out", "out"],
    "train start": ["train", "CONFIG", *QUICK, "start_from=?", "--out", "out"],
    "train head": ["train", "CONFIG", *QUICK, "head_from=?", "--out", "out"],
    "train cache": ["train", "CONFIG", *QUICK, "--source", "STREETS", "data_cache=?", "--out", "out"],
    "resume": ["train", "--resume", "?"],
    "leave-one-out": ["leave-one-out", "CONFIG", "--source", "?", "--out", "out"],
    "evaluate": ["evaluate", "?", "--out", "out"],
    "evaluate unseen": ["evaluate", "run", "--unseen", "?", "--out", "out"],
    "evaluate out": ["evaluate", "run", "--unseen", "world:fog", "--out", "?"],
    "evaluate severity": ["evaluate", "run", "--robustness", "--severity", "?", "--out", "out"],
    "evaluate submission": ["evaluate", "run", "--submission", "?", "--out", "out"],
    "predict": ["predict", "?", "photos", "--out", "out"],
    "predict images": ["predict", "run", "?", "--out", "out"],
    "predict out": ["predict", "run", "photos", "--out", "?"],
    "predict shard": ["predict", "run", "photos", "--shard", "?", "--out", "out"],
    "spectrum": ["spectrum", "?", "--images", "0", "--out", "out"],
    "spectrum rank": ["spectrum", "run", "--images", "0", "--rank", "?", "--out", "out"],
    "report": ["report", "?", "--out", "page.html"],
    "report two": ["report", "run", "?", "--out", "page.html"],
    "report out": ["report", "run", "--out", "?"],
    "show": ["show", "run", "?"],
    "export": ["export", "?", "--out", "out"],
    "export to": ["export", "run", "--to", "?", "--out", "out"],
    "export out": ["export", "run", "--out", "?"],
    "check": ["data", "check", "?", "--workers", "0"],
    "check out": ["data", "check", "STREETS", "--workers", "0", "--out", "?"],
    "check workers": ["data", "check", "STREETS", "--workers", "?"],
    "cache": ["data", "cache", "?", "data_cache=pixels", "--workers", "0"],
    "unknown": ["?"],
    "unknown option": ["train", "CONFIG", "--?"],
}  # fmt: skip


def _argument(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A command with something wrong in place of one of its arguments; nothing of the user's changes."""
    name, wrong = rng.choice(sorted(VERBS)), rng.choice(PLACES)
    box.copy(material.run("segmentation"), "run")
    box.copy(material.photos, "photos")
    os.mkfifo(box.work / "fifo")
    (box.work / "loop").symlink_to("loop")
    places = {"CONFIG": str(material.config_file("segmentation")), "STREETS": str(material.streets)}
    arguments = [places.get(part, part.replace("?", wrong)) for part in VERBS[name]]
    before = state(box.work)
    end = run(arguments, box.work)
    what = f"{name}: {wrong[:40]!r}"
    why, detail = fault_of(end)
    if why == "no single line" and is_usage(end):
        why = ""
    after = state(box.work)
    lost = [file for file in before if after.get(file) != before[file]]
    if not why and lost:
        why, detail = "overwrites", f"exit code {end.code}: {', '.join(lost)}"
    return Verdict(what, why, detail)


def _data_set(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A file of a data set is wrong: `data check` passes nothing that a training refuses."""
    kind = rng.choice(("streets", "streets", "coco", "voc", "yolo"))
    root = box.copy(material.streets if kind == "streets" else material.boxes(kind), "data")
    words = _wrong_file(rng, root, rng.choice(("dataset.yaml", "annotation", "annotation", "image")), kind)
    return _checked_and_trained(f"{kind}: {words}", kind, box, material)


def _checked_and_trained(what: str, kind: str, box: Sandbox, material: Material) -> Verdict:
    task, space = ("segmentation", "street7") if kind == "streets" else ("detection", "weather7")
    end = run(["data", "check", "data", f"task={task}", f"label_space={space}", "--workers", "0"], box.work)
    why, detail = fault_of(end)
    if why:
        return Verdict(f"data check, {what}", why, detail)
    arguments = [str(material.config_file(task)), *QUICK, f"label_space={space}", "training.steps=2",
                 "evaluation.images=3"]  # fmt: skip
    trained = run(["train", *arguments, "--source", "data", "--unseen", "data", "--out", "out"], box.work)
    why, detail = fault_of(trained)
    if not why and end.code == 0 and trained.code and "warning: " not in end.out:
        why, detail = "data check passes it", trained.last[:250]
    return Verdict(f"train, {what}", why, detail)


def _wrong_file(rng: random.Random, root: Path, which: str, kind: str) -> str:
    """Make one file of a data set wrong; what was done, in words."""
    if which == "image":
        return _wrong_image(rng, rng.choice(sorted(root.rglob("*.png"))))
    patterns = {
        "streets": "labels/*/*.png",
        "coco": "annotations/*.json",
        "voc": "Annotations/*.xml",
        "yolo": "labels/*/*.txt",
    }
    lists = sorted(root.glob("ImageSets/Main/*.txt")) if kind == "voc" and rng.random() < 0.3 else []
    file = rng.choice(lists or sorted(root.glob(patterns[kind])))
    file = root / "dataset.yaml" if which == "dataset.yaml" else file
    if file.suffix == ".png":
        return _wrong_image(rng, file, labels=True)
    content = file.read_bytes()
    if file.suffix in (".yaml", ".json") and rng.random() < 0.65:
        changed, words = mutated(rng, _parsed(file, content))
        file.write_bytes(as_yaml(changed) if file.suffix == ".yaml" else as_json(changed))
    elif file.suffix in (".xml", ".txt") and rng.random() < 0.65:
        new, words = _numbers_changed(rng, content)
        file.write_bytes(new)
    else:
        new, words = garbled(rng, content)
        file.write_bytes(new)
    return f"{file.relative_to(root)}: {words}"


def _parsed(file: Path, content: bytes) -> Any:
    return yaml.safe_load(content) if file.suffix == ".yaml" else json.loads(content)


def _numbers_changed(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A word of a table or an element's text is another."""
    text = content.decode()
    words = [word for word in text.replace(">", " ").replace("<", " ").split() if not word.startswith("/")]
    old = rng.choice(words)
    new = str(rng.choice((value(rng), alike(rng, old))))
    return text.replace(old, new, 1).encode("utf-8", "replace"), f"{old} becomes {new[:40]!r}"


def _wrong_image(rng: random.Random, file: Path, labels: bool = False) -> str:
    """Make an image file wrong or unusual."""
    size = Image.open(file).size
    pixels = noise(rng.randrange(99), size[1], size[0])
    if labels:
        pixels = pixels % 2

    def save(image: Image.Image, **options: Any) -> None:
        image.save(file, **{"format": "PNG"} | options)

    grey = pixels[..., 0]
    ways: dict[str, Callable[[], object]] = {
        "cut": lambda: file.write_bytes(file.read_bytes()[: rng.randrange(1, file.stat().st_size)]),
        "empty": lambda: file.write_bytes(b""),
        "a text": lambda: file.write_text("no image"),
        "random bytes": lambda: file.write_bytes(rng.randbytes(500)),
        "removed": file.unlink,
        "a folder": lambda: (file.unlink(), file.mkdir()),
        "a FIFO": lambda: (file.unlink(), os.mkfifo(file)),
        "/dev/zero": lambda: (file.unlink(), file.symlink_to("/dev/zero")),
        "a link to itself": lambda: (file.unlink(), file.symlink_to(file.name)),
        "another size": lambda: save(Image.fromarray(pixels[:-3, :-5])),
        "one pixel": lambda: save(Image.fromarray(grey[:1, :1])),
        "grey": lambda: save(Image.fromarray(grey)),
        "grey and alpha": lambda: save(Image.fromarray(np.dstack([grey, grey]))),
        "colour and alpha": lambda: save(Image.fromarray(np.dstack([pixels, grey]))),
        "palette": lambda: save(Image.fromarray(grey).convert("P")),
        "one bit": lambda: save(Image.fromarray(grey > 0)),
        "16 bits": lambda: save(Image.fromarray(grey.astype(np.uint16))),
        "12 bits in 16": lambda: save(Image.fromarray(grey.astype(np.uint16) << 4)),
        "floats": lambda: save(Image.fromarray(grey.astype(np.float32)), format="TIFF"),
        "CMYK": lambda: save(Image.fromarray(pixels).convert("CMYK"), format="JPEG"),
        "JPEG": lambda: save(Image.fromarray(pixels), format="JPEG"),
        "GIF": lambda: save(Image.fromarray(pixels), format="GIF"),
        "WebP": lambda: save(Image.fromarray(pixels), format="WEBP"),
        "bytes appended": lambda: file.write_bytes(file.read_bytes() + rng.randbytes(50)),
        "a bit flipped": lambda: file.write_bytes(_flipped(rng, file.read_bytes())),
        "a header of 60000 x 60000": lambda: file.write_bytes(_declared(file.read_bytes(), 60_000)),
        "a header of 0 x 0": lambda: file.write_bytes(_declared(file.read_bytes(), 0)),
    }  # fmt: skip
    name = rng.choice(sorted(ways))
    ways[name]()
    return f"{'/'.join(file.parts[-3:])}: {name}"


def _flipped(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def _declared(content: bytes, side: int) -> bytes:
    import zlib

    header = side.to_bytes(4) * 2 + content[24:29]
    return content[:16] + header + zlib.crc32(b"IHDR" + header).to_bytes(4) + content[33:]


def _photo(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """An image to predict is wrong: it is named, the others are done."""
    box.copy(material.run(rng.choice(("segmentation", "detection"))), "run")
    folder = box.copy(material.photos, "photos")
    words = _wrong_image(rng, folder / "1.png")
    end = run(["predict", "run", "photos", "--out", "out"], box.work)
    why, detail = fault_of(end)
    if not why and not (box.work / "out/overlays/0.jpg").is_file():
        why, detail = "others are not done", end.last[:200]
    if not why and end.code == 2 and "1.png" not in end.err:
        why, detail = "not named", end.last[:200]
    return Verdict(f"predict {words}", why, detail)


def _run_file(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A text file of a run says something else, or nothing."""
    kind = rng.choice(("segmentation", "detection", "transda"))
    root = box.copy(material.run(kind), "run")
    names = (
        "config.yaml",
        "metrics.json",
        "training.json",
        "log.jsonl",
        "adapter/adapter_config.json",
        "adapter/minorkey.json",
        "checkpoints/step-0000004/state.json",
        "figures/samples.json",
    )
    file = rng.choice([root / name for name in names if (root / name).is_file()])
    content, words = file.read_bytes(), ""
    if file.suffix != ".jsonl" and rng.random() < 0.6:
        document = _parsed(file, content)
        changed, words = mutated(rng, document) if document else ([], "a list")
        file.write_bytes(as_yaml(changed) if file.suffix == ".yaml" else as_json(changed))
    else:
        new, words = garbled(rng, content)
        file.write_bytes(new)
    use = rng.choice(
        (
            ["predict", "run", str(material.photos), "--out", "out"],
            ["report", "run", "--out", "p.html"],
            ["evaluate", "run", "evaluation.images=1", "--unseen", "world:fog", "--out", "out"],
            ["train", "--resume", "run"],
            ["export", "run", "--out", "out"],
            ["data", "check", "run", "--workers", "0"],
        )
    )
    return no_fault(f"{use[0]} {use[1]}, {kind}: {file.name}: {words}", run(use, box.work))


def _model_file(rng: random.Random, box: Sandbox, material: Material) -> Verdict:
    """A backbone's folder, a preset or a label space of the user's is wrong."""
    which = rng.choice(("backbone", "backbone", "preset", "space"))
    config = str(material.config_file("segmentation"))
    arguments = ["train", config, *QUICK, "--out", "out"]
    if which == "backbone":
        file = box.copy(material.backbone, "backbone") / rng.choice(("config.json", "config.json", "model.safetensors"))
        arguments += ["--backbone", "backbone"]
    elif which == "preset":
        file = box.copy(Path(config), "mine.yaml")
        arguments[1] = "mine.yaml"
    else:
        file = box.work / "space.yaml"
        file.write_text("classes:\n  road: {colour: [128, 64, 128]}\n  car: {colour: [0, 0, 142]}\n")
        arguments.append("label_space=space.yaml")
    content = file.read_bytes()
    if file.suffix == ".safetensors":
        file.write_bytes(
            _flipped(rng, content[:300]) + content[300:]
            if rng.random() < 0.5
            else content[: rng.randrange(len(content))]
        )
        words = "damaged"
    elif rng.random() < 0.6:
        changed, words = mutated(rng, _parsed(file, content))
        file.write_bytes(as_yaml(changed) if file.suffix == ".yaml" else as_json(changed))
    else:
        new, words = garbled(rng, content)
        file.write_bytes(new)
    end = run(arguments, box.work)
    return no_fault(f"train, {which} {file.name}: {words}", end)


GENERATORS: tuple[Generator, ...] = (
    _setting,
    _argument,
    _data_set,
    _photo,
    _data_set,
    _run_file,
    call,
    _argument,
    _model_file,
    _data_set,
    _setting,
    call,
)
