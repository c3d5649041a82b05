"""Data sets, runs, backbones and archives that mean harm: nothing is written or read outside, nothing of theirs is executed."""

import io
import json
import os
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from fault_trials.bad_input import QUICK
from fault_trials.child import run
from fault_trials.material import Material, noise
from fault_trials.sandbox import SECRET, Sandbox, changes, state
from fault_trials.verdict import Verdict, fault_of
from fault_trials.watch import Watch

MEMORY = 700 << 20
"""Bytes that a command may take beyond those of the process it was forked from."""

MARKUP = "<img src=x onerror=alert(1)>"

EVIL = f"""
from pathlib import Path
Path({{marker!r}}).write_text("executed")
thing = 5
"""


@dataclass
class Attack:
    """What was laid out, and the commands that meet it."""

    what: str
    commands: list[list[str]]
    secrets: list[Path] = field(default_factory=list)
    raw: str = ""  # what no page and no card may hold as it is


Layout = Callable[[random.Random, Sandbox, Material], Attack]

NAMES = ("../../outside/x", "/OUTSIDE/x", "..", "a/../../../outside/x", "x/../../outside", "\x1b[31mred", "a\nb", "a\\..\\b", "CON", "x" * 400,
         ".", " ", MARKUP)  # fmt: skip
"""Names that become parts of paths and of pages."""


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
        end = run(command, box.work, prepare=lambda: sys.path.insert(0, str(module.parent)), watch=watch, seconds=50)
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
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _train(material: Material, data: str = "data", space: str = "street7", kind: str = "segmentation", *more: str) -> list[str]:
    return ["train", str(material.config_file(kind)), *QUICK, "evaluation.pictures=1", f"label_space={space}", "--source", data,
            "--unseen", data, "--out", "out", *more]  # fmt: skip


def _check(task: str = "segmentation", space: str = "street7") -> list[str]:
    return ["data", "check", "data", f"task={task}", f"label_space={space}", "--workers", "0", "--out", "checked"]


def _streets(box: Sandbox, material: Material, **changes: Any) -> Path:
    root = box.copy(material.streets, "data")
    content = yaml.safe_load((root / "dataset.yaml").read_text())
    (root / "dataset.yaml").write_text(yaml.safe_dump(content | changes, allow_unicode=True))
    return root


def _domain_name(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(NAMES).replace("OUTSIDE", str(box.outside)[1:])
    _streets(box, material, name=name)
    target = [*_train(material)[:-4], "--target", "data", "--regime", rng.choice(("self_training", "transda")), "--out", "adapted"]
    commands = [_check(), _train(material), ["report", "out", "--out", "page.html"], target]
    return Attack(f"name: {name[:30]!r}", commands, raw=MARKUP)


def _pattern(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(3, 32, 48)).save(box.outside / name)
    pattern = rng.choice((
        "../../outside/{key}.png", "../../outside/*.png", f"{box.outside}/{{key}}.png", "images/{split}/../../../../outside/{key}.png",
        "{key}.png", "linked/{key}.png", "./../../outside/{key}.*",
    ))  # fmt: skip
    root = _streets(box, material, **{rng.choice(("images", "images", "labels")): pattern})
    (root / "linked").symlink_to(box.outside)
    if pattern.startswith("linked"):  # a folder that the user's own data set links to may be read
        return Attack(f"pattern {pattern}", [_check()])
    return Attack(f"pattern {pattern}", [_check(), _train(material)], secrets=[box.outside / "a.png", box.outside / "b.png"])


def _link(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = _streets(box, material)
    kind, file = rng.choice(("images", "labels")), root / "images/train/1.png"
    file = root / kind / "train/1.png"
    file.unlink()
    target = rng.choice(("/dev/zero", "/dev/random", "1.png", str(box.secret), "/proc/self/mem", "."))
    file.symlink_to(target)
    predict = ["predict", "run", "data/images/train", "--out", "predicted"]
    box.copy(material.run("segmentation"), "run")
    attack = Attack(f"{kind}: a link to {target}", [_check(), _train(material), predict])
    box.secret.rename(box.outside / "moved.txt")  # that a link of the user's is followed is no fault
    return attack


def _fifo(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = _streets(box, material)
    name = rng.choice(("images/train/1.png", "labels/train/1.png", "dataset.yaml"))
    (root / name).unlink()
    os.mkfifo(root / name)
    return Attack(f"{name} is a FIFO", [_check(), _train(material)])


def _loops(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = _streets(box, material)
    for number in range(rng.choice((1, 3))):
        (root / "images/train" / f"loop{number}").symlink_to(rng.choice(("..", ".", "../..")))
    return Attack("links to parents", [_check(), ["predict", "run", "data/images", "--out", "predicted"]])


MEMBERS = ("images/train/../../../../outside/x", "/outside/x", "images/train//abs/x", "images/train/..\\..\\x", "../images/train/x",
           "images/train/\x1b[31mx", "images/train/a\nb", "images/train/" + "y" * 200, "images/train/./x", "images/train/" + MARKUP.replace("/", ""))  # fmt: skip


def _archive(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, member, kind = box.work / "data", rng.choice(MEMBERS), rng.choice(("zip", "tar"))
    root.mkdir()
    (root / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")
    files = {}
    for file in sorted(material.streets.rglob("*.png")):
        files[str(file.relative_to(material.streets))] = file.read_bytes()
    files[f"{member}.png"] = files["images/train/0.png"]
    files[f"{member.replace('images', 'labels')}.png"] = files["labels/train/0.png"]
    _pack(root / f"all.{kind}", files)
    target = [*_train(material)[:-4], "--target", "data", "--regime", "transda", "--out", "adapted"]
    return Attack(f"{kind} with {member[:40]!r}", [_check(), _train(material), target], raw=MARKUP.replace("/", ""))


def _pack(file: Path, files: dict[str, bytes]) -> None:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return
    with tarfile.open(file, "w") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))


def _tar_members(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, kind = box.work / "data", rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE))
    root.mkdir()
    (root / "dataset.yaml").write_text("ids: {0: road, 1: car, 255: ignore}\n")
    with tarfile.open(root / "all.tar", "w") as packed:
        for file in sorted(material.streets.rglob("*.png")):
            name = str(file.relative_to(material.streets))
            if name != "images/train/1.png":
                packed.add(file, name)
        info = tarfile.TarInfo("images/train/1.png")
        info.type, info.linkname = kind, str(box.outside / "secret.png")
        packed.addfile(info)
    return Attack(f"tar with a member of type {kind!r}", [_check(), _train(material)])


def _bomb(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, declared = _streets(box, material), rng.random() < 0.5
    kind = rng.choice(("images", "labels"))
    (root / kind / "train/1.png").unlink()
    file = root / "more.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        with packed.open(f"{kind}/train/1.png", "w", force_zip64=True) as member:
            for _ in range(1 if declared else 1200):
                member.write(bytes(1 << 20))
    if declared:
        content = file.read_bytes()
        file.write_bytes(content.replace(struct.pack("<Q", 1 << 20), struct.pack("<Q", 1 << 40)))
    return Attack(f"{kind}: an archive's member {'that says it has' if declared else 'of'} gigabytes", [_check(), _train(material)])


def _png_bomb(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    import zlib

    root, side = _streets(box, material), rng.choice((20_000, 60_000, 2**31 - 1))
    file = root / rng.choice(("images", "labels")) / "train/1.png"
    header = side.to_bytes(4) * 2 + b"\x08\0\0\0\0"

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)

    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + chunk(b"IEND", b""))
    box.copy(material.run("segmentation"), "run")
    return Attack(f"a PNG of {side} x {side}", [_check(), ["predict", "run", "data/images/train", "--out", "predicted"]])


def _coco_names(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.boxes("coco"), "data")
    file = root / "annotations/train.json"
    content, which = json.loads(file.read_text()), rng.choice(("file", "category", "file"))
    if which == "file":
        wrong = rng.choice(("../../../outside/secret.png", str(box.outside / "secret.png"), "\x1b[2J.png", "a\0b.png", "", "..", "/", "train0.png/../../x"))
        content["images"][1]["file_name"] = wrong
    else:
        wrong = rng.choice(NAMES)
        content["categories"].append({"id": 2, "name": wrong})
        content["annotations"][1]["category_id"] = 2
    file.write_text(json.dumps(content))
    return Attack(f"COCO {which} {wrong[:30]!r}", [_check("detection", "weather7"), _train(material, "data", "weather7", "detection")], raw=MARKUP)


def _voc_names(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.boxes("voc"), "data")
    wrong = rng.choice(("../../outside/secret", str(box.outside / "secret"), "..", "\x1b[31m", "train0/../../../outside/secret"))
    with (root / "ImageSets/Main/train.txt").open("a") as file:
        file.write(f"{wrong}\n")
    return Attack(f"VOC list with {wrong[:30]!r}", [_check("detection", "weather7"), _train(material, "data", "weather7", "detection")])


def _xml(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.boxes("voc"), "data")
    file = root / "Annotations/train1.xml"
    text = file.read_text()
    kind = rng.choice(("laughs", "external", "parameter", "remote"))
    heads = {
        "laughs": "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 20}'>" for i in range(1, 12)) + "]>",
        "external": f"<!DOCTYPE a [<!ENTITY a11 SYSTEM 'file://{box.secret}'>]>",
        "parameter": f"<!DOCTYPE a [<!ENTITY % p SYSTEM 'file://{box.secret}'> %p; <!ENTITY a11 'car'>]>",
        "remote": "<!DOCTYPE a SYSTEM 'http://192.0.2.1/evil.dtd' [<!ENTITY a11 'car'>]>",
    }
    file.write_text(heads[kind] + text.replace("car", "&a11;"))
    return Attack(f"XML, {kind}", [_check("detection", "weather7")])


def _yaml(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    marker = box.outside / "executed"
    document = rng.choice((
        f"ids: !!python/object/apply:pathlib.Path.write_text [!!python/object/apply:pathlib.Path [{marker}], x]\n",
        f"!!python/object/apply:os.system ['touch {marker}']\n",
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)) + "ids: *a11\n",
        "ids: &a {0: *a}\n", "ids: {0: road}\nread_as: &x {road: [*x]}\n", "reader: mine.evil:thing\n", "boxes: mine.evil:thing\n",
        "ids: {0: road}\nlegend: mine.evil:thing\n", f"legend: {box.secret}\n", f"legend: ../../outside/secret.txt\n",
    ))  # fmt: skip
    _streets(box, material)
    place = rng.choice(("data/dataset.yaml", "space.yaml")) if "evil" not in document else "data/dataset.yaml"
    (box.work / place).write_text(document)
    space = "space.yaml" if place == "space.yaml" else "street7"
    return Attack(f"{place}: {document[:50]!r}", [_check(space=space), _train(material, space=space)])


def _classes(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice((MARKUP, "[x](javascript:alert(1))", "a|b", "\x1b[31mred\x1b[0m", "a\nb", "`x`", "![x](http://192.0.2.1/x.png)", "</script><script>alert(1)"))
    space = {"classes": {name: {"colour": [128, 64, 128]}, "car": {"colour": [0, 0, 142]}}}
    (box.work / "space.yaml").write_text(yaml.safe_dump(space, allow_unicode=True))
    _streets(box, material, ids={0: name, 1: "car", 255: "ignore"})
    commands = [_check(space="space.yaml"), _train(material, space="space.yaml"), ["report", "out", "--out", "page.html"],
                ["export", "out", "--to", "model", "--out", "exported"], ["export", "out", "--out", "exported2"]]  # fmt: skip
    return Attack(f"class {name[:40]!r}", commands, raw=name if name.startswith(("<", "[", "!")) else "")


def _file_names(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(("\x1b[31mred", "a\nb", MARKUP.replace("/", ""), "a'\"b", "-rf", "%00", "{split}", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "x" * 240))
    root = _streets(box, material)
    for kind in ("images", "labels"):
        (root / kind / "train/1.png").rename(root / kind / "train" / f"{name}.png")
    (root / "images/train" / f"{name}2.png").write_bytes(b"broken")
    box.copy(material.run("segmentation"), "run")
    commands = [_check(), ["predict", "run", "data/images/train", "--out", "predicted"], _train(material)]
    return Attack(f"file {name[:30]!r}", commands, raw=MARKUP.replace("/", ""))


DOORS: dict[str, dict[str, Any]] = {
    "method": {"method": {"name": "mine.evil:thing"}}, "head": {"head": {"name": "mine.evil:thing"}}, "task": {"task": "mine.evil:thing"},
    "regime": {"regime": "mine.evil:thing", "target": ["world:fog"]}, "teacher": {"teacher": {"name": "mine.evil:thing"}},
    "metric": {"evaluation": {"metric": "mine.evil:thing"}}, "own": {"transform": {"own": ["mine.evil:thing"]}},
    "backbone": {"backbone": {"name": "mine.evil:thing"}}, "source": {"source": ["mine.evil:thing"]}, "unseen": {"unseen": ["mine.evil:thing:val"]},
    "label space": {"label_space": "../outside/secret.txt"}, "start": {"start_from": "../outside"}, "cache": {"data_cache": "../outside/cache"},
}  # fmt: skip


def _run_config(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, door = box.copy(material.run("segmentation"), "run"), rng.choice(sorted(DOORS))
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | DOORS[door]))
    for path in (root / "metrics.json", root / "training.json"):
        if rng.random() < 0.5:
            path.unlink()
    commands = [["predict", "run", str(material.photos), "--out", "predicted"], ["train", "--resume", "run"], ["evaluate", "run", "--unseen", "world:fog", "--out", "e"],
                ["data", "check", "run", "--workers", "0"], ["report", "run", "--out", "page.html"], ["export", "run", "--out", "exported"]]  # fmt: skip
    return Attack(f"a run whose configuration names {door}", commands)


class _Pickled:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def _pickles(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, content = box.copy(material.run("segmentation"), "run"), pickle.dumps(_Pickled(str(box.outside / "executed")))
    places = ["head.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_model.bin", "confusions.safetensors",
              "checkpoints/step-0000004/optimizer.safetensors", "checkpoints/step-0000004/adapter.bin"]  # fmt: skip
    place = rng.choice(places)
    (root / place).write_bytes(content)
    if place.endswith(".bin"):
        (root / place).with_suffix(".safetensors").unlink(missing_ok=True)
    (root / "metrics.json").unlink()
    if "checkpoints" in place:
        (root / "training.json").unlink()
    commands = [["predict", "run", str(material.photos), "--out", "predicted"], ["train", "--resume", "run"], ["export", "run", "--out", "exported"]]
    return Attack(f"a pickle as {place}", commands)


def _safetensors(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.run("segmentation"), "run")
    file = root / rng.choice(("head.safetensors", "adapter/adapter_model.safetensors", "confusions.safetensors"))
    headers = {
        "a header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
        "a header of 90 MB": struct.pack("<Q", 90 << 20) + b" " * (90 << 20),
        "a tensor of 2^50": _header({"x": {"dtype": "F32", "shape": [1 << 25, 1 << 25], "data_offsets": [0, 4]}}) + bytes(4),
        "negative offsets": _header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}) + bytes(4),
        "overlapping": _header({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "xy"}) + bytes(4),
        "deep JSON": struct.pack("<Q", 20_000) + b"[" * 20_000,
        "no tensors": _header({}),
    }
    name = rng.choice(sorted(headers))
    file.write_bytes(headers[name])
    commands = [["predict", "run", str(material.photos), "--out", "predicted"], ["report", "run", "--out", "p.html"], ["export", "run", "--to", "model", "--out", "exported"]]
    if file.name.startswith("confusions"):
        commands = commands[1:2]
    return Attack(f"{file.name} with {name}", commands)


def _header(content: dict[str, Any]) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


def _backbone(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, marker = box.copy(material.backbone, "backbone"), box.outside / "executed"
    for name in ("modeling_evil.py", "configuration_evil.py"):
        (root / name).write_text(EVIL.format(marker=str(marker)) + "class Evil: pass\n")
    auto = {"AutoConfig": "configuration_evil.Evil", "AutoModel": "modeling_evil.Evil", "AutoBackbone": "modeling_evil.Evil"}
    changes_: dict[str, dict[str, Any]] = {
        "auto_map": {"auto_map": auto}, "auto_map and a new type": {"auto_map": auto, "model_type": "evil"},
        "kernels": {"_attn_implementation": "kernels-community/evil"}, "kernels, public": {"attn_implementation": "evil/kernel"},
        "internal kernels": {"_attn_implementation_internal": "evil/kernel@main"},
        "experts": {"_experts_implementation": "evil/kernel"}, "kernel config": {"use_kernels": True, "kernel_config": {"Linear": "evil/kernel:Linear"}},
        "quantised": {"quantization_config": {"quant_method": "gptq", "bits": 4, "modules_to_not_convert": ["x"]}},
        "torchscript": {"torchscript": True}, "timm": {"model_type": "timm_backbone", "backbone": "hf-hub:evil/model", "use_pretrained_backbone": True},
        "huge": {"hidden_size": 1 << 20, "num_hidden_layers": 1 << 12}, "sub-model": {"backbone_config": {"model_type": "dinov2", "_name_or_path": "evil/model"}},
        "adapter": {"_name_or_path": "../outside", "base_model_name_or_path": "evil/model"}, "generation": {"custom_pipelines": {"x": {"impl": "modeling_evil.Evil"}}},
    }  # fmt: skip
    name = rng.choice(sorted(changes_))
    file = root / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes_[name]))
    if rng.random() < 0.3:
        (root / "pytorch_model.bin").write_bytes(pickle.dumps(_Pickled(str(marker))))
        (root / "model.safetensors").unlink()
        name += ", pickled weights"
    command = ["train", str(material.config_file("segmentation")), *QUICK, "--backbone", "backbone", "--out", "out"]
    return Attack(f"backbone: {name}", [command, ["spectrum", "backbone", "--out", "spectrum"]][: 1 if "huge" in name else 2])


def _adapter(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, marker = box.copy(material.run("segmentation"), "run"), box.outside / "executed"
    (root / "adapter/evil.py").write_text(EVIL.format(marker=str(marker)))
    changes_: dict[str, dict[str, Any]] = {
        "base model": {"base_model_name_or_path": "evil/model"}, "auto mapping": {"auto_mapping": {"base_model_class": "Evil", "parent_library": "mine.evil"}},
        "another type": {"peft_type": "EVIL"}, "init": {"init_lora_weights": "eva"}, "targets": {"target_modules": "(a+)+$"},
        "a pattern that never ends": {"rank_pattern": {"(.*a){25}": 3}}, "rank": {"r": 10**9}, "runtime": {"runtime_config": {"ephemeral_gpu_offload": True}},
        "trained tokens": {"trainable_token_indices": [10**9]}, "saved modules": {"modules_to_save": ["encoder"]}, "revision": {"revision": "../../x"},
    }  # fmt: skip
    name = rng.choice(sorted(changes_))
    file = root / "adapter/adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes_[name]))
    return Attack(f"adapter_config.json: {name}", [["predict", "run", str(material.photos), "--out", "predicted"], ["export", "run", "--out", "exported"]])


def _metrics(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    """Names in scores and logs are shown by pages and tables."""
    root, name = box.copy(material.run("segmentation"), "run"), rng.choice((MARKUP, "\x1b[31mred", "../../outside/x", "[bold red]x[/]", "a\nb"))
    for file in (root / "metrics.json", root / "figures/samples.json", root / "config.yaml"):
        text = file.read_text()
        file.write_text(text.replace("night", json.dumps(name)[1:-1] if file.suffix == ".json" else name.replace("\x1b", "").replace("\n", "")))
    return Attack(f"scores of domain {name!r}", [["report", "run", "--out", "page.html"], ["train", "--resume", "run"], ["export", "run", "--out", "exported"]], raw=MARKUP)


def _linked_page(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, victim = box.copy(material.run("segmentation"), "run"), box.outside / "victim"
    victim.write_text("theirs")
    name, command = rng.choice((
        ("report.html", ["report", "run"]), ("metrics.json", ["evaluate", "run"]), ("confusions.safetensors", ["evaluate", "run"]),
        ("log.jsonl", ["train", "--resume", "run"]), ("config.yaml", ["train", "--resume", "run"]), ("export", ["export", "run"]),
    ))  # fmt: skip
    if name == "log.jsonl":
        for path in ("metrics.json", "training.json", "checkpoints/step-0000004/state.json"):
            (root / path).unlink()
    (root / name).unlink(missing_ok=True)
    (root / name).symlink_to(box.outside if name == "export" else victim)
    return Attack(f"a run whose {name} is a link to somewhere else", [command])


def _class_folders(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(("\x1b[31mred", MARKUP.replace("/", ""), "a, b", "a\nb", "ignore", "..a", "x" * 250))
    root = box.copy(material.classes, "data")
    (root / "day/leaf").rename(root / "day" / name)
    (root / "night/leaf").rename(root / "night" / name)
    command = ["train", str(material.config_file("classification")), "training.steps=1", "training.checkpoint_every=1", "--source", "data-day",
               "--unseen", "data-night", "label_space=folders", "--out", "out"]  # fmt: skip
    return Attack(f"class folder {name[:30]!r}", [command, ["report", "out", "--out", "page.html"], ["export", "out", "--to", "model", "--out", "exported"]], raw=MARKUP.replace("/", ""))


def _scripted_data_set(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = _streets(box, material)
    for name in ("data.py", "dataset.py", "__init__.py", "conftest.py", "sitecustomize.py"):
        (root / name).write_text(EVIL.format(marker=str(box.outside / "executed")))
    spec = rng.choice(("data", "hf:data", "hf:data:train?label=labels", "hf:../work/data?image=images"))
    return Attack(f"{spec}, beside scripts", [_train(material, spec)])


ATTACKS: tuple[Layout, ...] = (
    _domain_name, _archive, _pattern, _classes, _backbone, _run_config, _link, _coco_names, _file_names, _yaml, _fifo, _tar_members, _bomb,
    _png_bomb, _voc_names, _xml, _pickles, _safetensors, _adapter, _metrics, _linked_page, _class_folders, _loops, _scripted_data_set,
    _domain_name, _pattern, _archive,
)  # fmt: skip
