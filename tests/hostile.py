"""Commands over a data set whose names all lead elsewhere, with a hook that sees what is opened, moved and started.

Usage: python hostile.py FOLDER BACKBONE. Prints JSON: what was written outside FOLDER/out, and what was executed.
"""

import io
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STARTS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pty.spawn", "socket.connect", "os.startfile")
MOVES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
EVIL = "\x1b]0;title\x07\x1b[2J"
KEYS = ("/abs/a", "../../../escaped/b", f"d{EVIL}", "e" * 300)
"""Of images in an archive; what begins with a point is passed over, as hidden files are."""


def write_data(root: Path) -> Path:
    rng, root = np.random.default_rng(0), root / "data"
    root.mkdir()
    name = json.dumps(f"../../../named{EVIL}")
    (root / "dataset.yaml").write_text(f"name: {name}\nids: {{0: road, 1: {json.dumps('car' + EVIL)}}}\n")
    with zipfile.ZipFile(root / "all.zip", "w") as archive:
        for split in ("train", "val"):
            for key in KEYS:
                for kind, pixels in {
                    "images": rng.integers(0, 256, (32, 48, 3), dtype=np.uint8),
                    "labels": rng.integers(0, 2, (32, 48), dtype=np.uint8),
                }.items():
                    content = io.BytesIO()
                    Image.fromarray(pixels).save(content, "PNG")
                    archive.writestr(f"{kind}/{split}/{key}.png", content.getvalue())
    return root


def watch(out: Path) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {"written": [], "executed": []}

    def inside(path: object) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return True  # a descriptor, of what was opened before
        place = Path(os.path.abspath(os.fsdecode(path)))
        return place.is_relative_to(out) or str(place).startswith(("/dev/", "/proc/"))

    def hook(event: str, arguments: tuple) -> None:
        if event in STARTS:
            seen["executed"].append(f"{event} {arguments!r}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES and not inside(arguments[0]):
            seen["written"].append(f"open {arguments[0]!r}")
        elif event in MOVES and not all(map(inside, arguments[: 2 if event == "os.rename" else 1])):
            seen["written"].append(f"{event} {arguments!r}")

    sys.addaudithook(hook)
    return seen


def commands(data: Path, backbone: str, out: Path) -> list[list[str]]:
    run, photos = out / "run", out / "run" / "figures" / "samples"
    tiny = ["head=linear", "method.rank=2", "training.steps=2", "training.batch_size=2", "transform.crop=[32,32]"]
    tiny += ["training.checkpoint_every=1", "training.workers=0", f"label_space={json.dumps('road, car' + EVIL)}"]
    return [
        ["data", "check", str(data), tiny[-1], "--workers", "0", "--out", str(out / "check")],
        ["train", "--source", str(data), "--backbone", backbone, "--out", str(run), *tiny],
        ["evaluate", str(run), "evaluation.pictures=5", "--out", str(out / "again")],
        ["report", str(run), "--out", str(out / "page.html")],
        ["predict", str(run), str(photos), "--out", str(out / "predicted")],
        ["export", str(run), "--out", str(out / "exported")],
    ]


def main(folder: Path, backbone: str) -> None:
    import matplotlib.font_manager  # asks the system for its fonts, once

    from minorkey import cli

    assert matplotlib.font_manager
    data, out = write_data(folder), folder / "out"
    seen = watch(out)
    codes = []
    for arguments in commands(data, backbone, out):
        sys.argv = ["minorkey", *arguments]
        try:
            cli.main()
            codes.append(0)
        except SystemExit as end:
            codes.append(end.code or 0)
    print("\n" + json.dumps({**seen, "codes": codes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
