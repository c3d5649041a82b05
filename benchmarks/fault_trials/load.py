"""Large inputs: done within bounds of time and memory, or refused in one line."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fault_trials.bad_input import QUICK
from fault_trials.child import run
from fault_trials.material import Material
from fault_trials.sandbox import Sandbox
from fault_trials.verdict import Verdict, fault_of
from fault_trials.watch import allow_forks

Large = tuple[list[str], float, int]
"""A command, the seconds it may take, and the MB beyond those it began with."""


def load(rng: random.Random, index: int, box: Sandbox, material: Material) -> Verdict:
    """One trial: what is large is laid out, and a command meets it."""
    import resource

    name = sorted(LARGE)[index % len(LARGE)]
    command, seconds, most = LARGE[name](box, material)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    memory = (most + 4000) << 20
    end = run(command, box.work, prepare=lambda: allow_forks(64), seconds=10 * seconds, memory=memory)
    why, detail = fault_of(end)
    used = (end.peak >> 20) - own
    if not why and used > most:
        why, detail = "takes memory", f"{used} MB, wanted at most {most}"
    if not why and end.code not in (0, 2):
        why, detail = "dies", end.last[:200]
    return Verdict(name, why, detail)


def _train(material: Material, kind: str, *more: str) -> list[str]:
    return ["train", str(material.config_file(kind)), *QUICK, *more, "--out", "out"]


def _link_all(folder: Path, first: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:06d}{first.suffix}").hardlink_to(first)


def _image(file: Path, width: int, height: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8) + np.uint8(90)).save(file, compress_level=1)
    return file


def _boxes(box: Sandbox, material: Material, count: int, categories: int = 1) -> None:
    root = box.copy(material.boxes("coco"), "data")
    file = root / "annotations/train.json"
    content = json.loads(file.read_text())
    content["annotations"] = [
        {"id": i, "image_id": 0, "category_id": 1, "bbox": [i % 60, i % 44, 3, 3], "iscrowd": 0} for i in range(count)
    ]
    content["categories"] += [{"id": 2 + i, "name": f"thing {i}"} for i in range(categories - 1)]
    file.write_text(json.dumps(content))


def _listed(count: int) -> Callable[[Sandbox, Material], Large]:
    def make(box: Sandbox, material: Material) -> Large:
        root = box.copy(material.streets, "data")
        for kind in ("images", "labels"):  # a file takes so many links at most
            for part in range(-(-count // 50_000)):
                source = root / kind / "train" / f"{part}.png"
                _link_all(root / kind / "train" / str(part + 10), source, min(count, 50_000))
        return [*_train(material, "segmentation", "label_space=street7"), "--source", "data"], 60, 600

    return make


def _boxed(count: int, check: bool) -> Callable[[Sandbox, Material], Large]:
    def make(box: Sandbox, material: Material) -> Large:
        _boxes(box, material, count)
        if check:
            return (
                ["data", "check", "data", "task=detection", "label_space=weather7", "--workers", "0", "--out", "out"],
                40,
                900,
            )
        return [*_train(material, "detection"), "--source", "data"], 40, 1500

    return make


def _large_photo(width: int, height: int, kind: str = "wide") -> Callable[[Sandbox, Material], Large]:
    def make(box: Sandbox, material: Material) -> Large:
        _image(box.work / "photos/a.png", width, height)
        box.copy(material.run(kind), "run")
        return ["predict", "run", "photos", "--out", "out"], 90, 40 * width * height // 1_000_000 + 800

    return make


def _many_photos(count: int, kind: str) -> Callable[[Sandbox, Material], Large]:
    def make(box: Sandbox, material: Material) -> Large:
        _link_all(box.work / "photos", _image(box.work / "a.png", 64, 64), count)
        box.copy(material.run(kind), "run")
        return ["predict", "run", "photos", "--out", "out"], 60, 800

    return make


def _large_training(box: Sandbox, material: Material) -> Large:
    root = box.copy(material.streets, "data")
    _image(root / "images/train/0.png", 6000, 4000)
    Image.fromarray(np.zeros((4000, 6000), np.uint8)).save(root / "labels/train/0.png", compress_level=1)
    return [*_train(material, "segmentation", "label_space=street7"), "--source", "data"], 60, 1500


def _many_classes(box: Sandbox, material: Material) -> Large:
    root = box.copy(material.streets, "data")
    names = [f"class {number}" for number in range(250)]
    (root / "dataset.yaml").write_text("ids: {" + ", ".join(f"{i}: {name}" for i, name in enumerate(names)) + "}\n")
    (box.work / "space.yaml").write_text(
        "classes:\n" + "".join(f"  {name}: {{colour: [{i}, 9, 9]}}\n" for i, name in enumerate(names))
    )
    return (
        [*_train(material, "segmentation", "label_space=space.yaml"), "--source", "data", "--unseen", "data"],
        40,
        900,
    )


def _many_domains(box: Sandbox, material: Material) -> Large:
    root = box.copy(material.streets, "data")
    for number in range(300):
        for kind in ("images", "labels"):
            _link_all(root / kind / f"d{number}" / "val", material.streets / kind / "val/0.png", 1)
    domains = ", ".join(f"d{number}" for number in range(300))
    (root / "dataset.yaml").write_text(
        "ids: {0: road, 1: car}\nimages: images/{domain}/{split}/{key}.png\n"
        f"labels: labels/{{domain}}/{{split}}/{{key}}.png\ndomains: [{domains}]\n"
    )
    return ["data", "check", "data:val", "label_space=street7", "--workers", "0"], 60, 900


def _long_log(box: Sandbox, material: Material) -> Large:
    root = box.copy(material.run("segmentation"), "run")
    line = json.loads((root / "log.jsonl").read_text().splitlines()[0])
    (root / "log.jsonl").write_text("".join(json.dumps(line | {"step": step + 1}) + "\n" for step in range(100_000)))
    return ["report", "run", "--out", "page.html"], 60, 900


def _many_runs(box: Sandbox, material: Material) -> Large:
    for number in range(30):
        box.copy(material.run("segmentation", seed=number % 2), f"run{number}")
    return ["report", *(f"run{number}" for number in range(30)), "--out", "page.html"], 60, 900


def _setting(key: str) -> Callable[[Sandbox, Material], Large]:
    return lambda box, material: (_train(material, "segmentation", f"{key}=1000000000"), 20, 1500)


LARGE: dict[str, Callable[[Sandbox, Material], Large]] = {
    "100 000 files listed": _listed(100_000),
    "20 000 files listed": _listed(20_000),
    "10 000 boxes on an image, trained": _boxed(10_000, check=False),
    "10 000 boxes on an image, checked": _boxed(10_000, check=True),
    "200 000 boxes on an image, trained": _boxed(200_000, check=False),
    "200 000 boxes on an image, checked": _boxed(200_000, check=True),
    "12000 x 8000 predicted": _large_photo(12_000, 8_000),
    "30000 x 40 predicted": _large_photo(30_000, 40),
    "6000 x 4000, boxes": _large_photo(6_000, 4_000, "detection"),
    "6000 x 4000, classified": _large_photo(6_000, 4_000, "classification"),
    "2000 images predicted": _many_photos(2000, "full"),
    "2000 images, boxes": _many_photos(2000, "detection"),
    "2000 images, classified": _many_photos(2000, "classification"),
    "a training image of 6000 x 4000": _large_training,
    "250 classes": _many_classes,
    "300 domains": _many_domains,
    "a log of 100 000 lines": _long_log,
    "a page of 30 runs": _many_runs,
    "a batch of 10^9": _setting("training.batch_size"),
    "10^9 workers": _setting("training.workers"),
    "a rank of 10^9": _setting("method.rank"),
    "a head of 10^9 channels": _setting("head.channels"),
}
