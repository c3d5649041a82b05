"""YOLO, as Ultralytics trains on it, and as Roboflow, CVAT and Label Studio export it."""

from pathlib import Path

from exported.scene import BOXES, CAR, HEIGHT, ROAD, WIDTH, photo, text


def outline_lines(names: list[str]) -> str:
    """The scene in YOLO's form."""
    lines = []
    for name, corners in (("car", CAR), ("road", ROAD)):
        parts = [f"{value / (WIDTH, HEIGHT)[place % 2]:.6g}" for place, value in enumerate(corners)]
        lines.append(f"{names.index(name)} {' '.join(parts)}")
    return "\n".join(lines)


def box_lines(names: list[str]) -> str:
    """The boxes of the scene in YOLO's form."""
    lines = []
    for name, (x0, y0, x1, y1) in BOXES.items():
        middle = (x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT
        lines.append(" ".join(map(str, (names.index(name), *middle, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT))))
    return "\n".join(lines)


def ultralytics_seg(root: Path) -> None:
    """Ultralytics: `data.yaml` with a path of another machine, names by number, images/SPLIT beside labels/SPLIT."""
    names = "names:\n  0: car\n  1: road\n"
    text(
        root / "data.yaml",
        f"path: ../datasets/streets # root dir\ntrain: images/train\nval: images/val\ntest:\n{names}",
    )
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "images" / split / f"{key}.jpg")
            text(root / "labels" / split / f"{key}.txt", outline_lines(["car", "road"]))
        text(root / "labels" / f"{split}.cache", "x")


def ultralytics_pose(root: Path) -> None:
    """Ultralytics, keypoints: behind each box as many numbers as an outline of 14 corners could have."""
    names = "names:\n  0: car\n  1: road\n"
    text(root / "data.yaml", f"train: images/train\nval: images/val\nkpt_shape: [12, 2]\n{names}")
    points = " ".join(f"{0.01 * place:.2f}" for place in range(24))
    lines = [f"{line} {points}" for line in box_lines(["car", "road"]).splitlines()]
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "images" / split / f"{key}.jpg")
            text(root / "labels" / split / f"{key}.txt", "\n".join(lines))


def roboflow_yolo(root: Path) -> None:
    """Roboflow, 'YOLOv8': paths that begin above the folder, names as a list in the order of the alphabet."""
    text(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['car', 'road']\n\n"
        "roboflow:\n  workspace: me\n  project: streets\n  version: 1\n  license: CC BY 4.0\n",
    )
    for split in ("train", "valid", "test"):
        for key in "ab":
            photo(root / split / "images" / f"{key}_jpg.rf.0{key}.jpg")
            text(root / split / "labels" / f"{key}_jpg.rf.0{key}.txt", box_lines(["car", "road"]))
    text(root / "README.roboflow.txt", "streets - v1\n")


def cvat_yolo(root: Path) -> None:
    """CVAT, 'Ultralytics YOLO': splits as lists of images, with a folder before each name that is not there."""
    text(root / "data.yaml", "names:\n  0: car\n  1: road\npath: .\ntrain: train.txt\nval: val.txt\n")
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "images" / split / f"{key}.png")
            text(root / "labels" / split / f"{key}.txt", outline_lines(["car", "road"]))
        text(root / f"{split}.txt", f"data/images/{split}/a.png\ndata/images/{split}/b.png\n")


def cvat_yolo_1_1(root: Path) -> None:
    """CVAT, 'YOLO 1.1': a folder of images and text files for each subset, named in lists of paths."""
    text(root / "obj.names", "car\nroad\n")
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")
    for split in ("train", "valid"):
        for key in "ab":
            photo(root / f"obj_{split}_data" / f"{key}.png")
            text(root / f"obj_{split}_data" / f"{key}.txt", box_lines(["car", "road"]))
        text(root / f"{split}.txt", "".join(f"data/obj_{split}_data/{key}.png\n" for key in "ab"))


def label_studio_yolo(root: Path) -> None:
    """Label Studio, 'YOLO with images': classes in a text file, no splits."""
    text(root / "classes.txt", "car\nroad\n")
    text(root / "notes.json", '{"categories": [{"id": 0, "name": "car"}], "info": {"year": 2026}}')
    for key in "ab":
        photo(root / "images" / f"0c1-{key}.jpg")
        text(root / "labels" / f"0c1-{key}.txt", box_lines(["car", "road"]))
