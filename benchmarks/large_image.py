"""Predict one image of 12000x8000 with a model of the built-in world: it ends, in bounded memory.

Wanted: the peak of a process that loads the run and predicts, below 8 GB for both tasks; the scores of all classes of
such an image alone would be 7.3 GB. Each task has a process of its own. The models learn for two steps: how right they
are does not matter here.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

WANTED = 8.0  # GB
PRESETS = {"segmentation": "demo_quick", "detection": "world_weather_quick"}
PREDICT = """
import json, resource, sys, time
from pathlib import Path
from rich.console import Console
from minorkey.runs.predict import predict_folder
started = time.monotonic()
done = predict_folder(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), console=Console(stderr=True))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
print(json.dumps({"written": done.written, "GB": peak, "seconds": time.monotonic() - started}))
"""


def train(folder: Path, preset: str) -> None:
    import minorkey

    minorkey.train(preset, out=folder, unseen=[], training={"steps": 2}, evaluation={"images": 1, "pictures": 0})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(12000, 8000), help="width, height")
    parser.add_argument("--tasks", nargs="+", choices=PRESETS, default=list(PRESETS))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(options.size).save(folder / "image.jpg", quality=90)
        for task in options.tasks:
            train(folder / task, PRESETS[task])
            paths = (folder / task, folder / "image.jpg", folder / "out" / task)
            command = [sys.executable, "-c", PREDICT, *map(str, paths)]
            rows.append((task, json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)))
    print(f"one image of {options.size[0]}x{options.size[1]}\n\n| task | peak GB | s |\n|---|---:|---:|")
    for task, row in rows:
        print(f"| {task} | {row['GB']:.2f} | {row['seconds']:.0f} |")
    print(f"wanted: below {WANTED:g} GB")
    return int(any(row["GB"] >= WANTED or row["written"] != 1 for _, row in rows))


if __name__ == "__main__":
    sys.exit(main())
