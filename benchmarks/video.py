"""A clip predicted: frames a second, and memory that does not grow with its length; single frames of it as a target.

Wanted: the peak of the process at 20 seconds at most 5 % above that at 5, and so at 60 above 20. The clip is 640x360 at
25 frames a second: the view pans over scenes of the built-in world, another one every 5 seconds. `--write` makes a clip
and does no more.
"""

import argparse
import io
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from minorkey.data.readers.clips import ClipReader
from minorkey.data.video.writer import opened_writer
from minorkey.world import DOMAINS, render

SIZE = (640, 360)
RATE = 25
SCENE = 5  # seconds of each
LENGTHS = (5, 20, 60)
WANTED = 1.05


def pictures(seconds: float) -> Iterator[Image.Image]:
    """The view pans over a scene twice as wide as it is; then comes the next one, in another domain."""
    names = list(DOMAINS)
    for scene in range(-(-int(seconds) // SCENE)):
        seen = render(0, scene, names[scene % len(names)], size=(SIZE[0], SIZE[1] // 2)).image
        wide = Image.fromarray(seen).resize((2 * SIZE[0], SIZE[1]))
        for step in range(round(min(SCENE, seconds - scene * SCENE) * RATE)):
            left = round(step / (SCENE * RATE) * SIZE[0])
            yield wide.crop((left, 0, left + SIZE[0], SIZE[1]))


def write_clip(file: Path, seconds: float) -> None:
    tick = Fraction(1, RATE)
    with opened_writer(file, rate=Fraction(RATE), tick=tick) as video:
        for index, picture in enumerate(pictures(seconds)):
            video.add(picture, index * tick)


def predict(clip: Path, run: Path | None, every: int, out: Path) -> None:
    """In a process of its own: frames, seconds, and the peak of its memory in MB."""
    from predicting import predictor
    from rich.console import Console

    from minorkey.data.video.frames import Sampling
    from minorkey.runs.clip import ClipFiles, ClipOptions, predict_clip
    from minorkey.runs.load import load

    model = predictor() if run is None else load(run)
    files = ClipFiles(out, clip.stem, model.prediction_type)
    began = time.perf_counter()
    predict_clip(model, clip, files, ClipOptions(Sampling(every)), Console(file=io.StringIO()))
    seconds = time.perf_counter() - began
    frames = len(files.lines.read_text().splitlines())
    print(frames, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measured(clip: Path, run: Path | None, every: int, folder: Path) -> tuple[int, float, float]:
    given = [
        sys.executable,
        __file__,
        "--predict",
        clip,
        "--every",
        every,
        "--out",
        folder / f"out-{clip.stem}-{every}",
    ]
    done = subprocess.run(
        [*map(str, given), *([] if run is None else ["--run", str(run)])], check=True, capture_output=True, text=True
    )
    frames, seconds, peak = done.stdout.split()
    return int(frames), float(seconds), float(peak)


def single_frames(clip: Path, count: int = 40) -> tuple[int, float]:
    """How many frames a target has, and milliseconds for one of them in any order."""
    reader = ClipReader(str(clip), every=1)
    chosen = np.random.default_rng(0).choice(len(reader), count, replace=False)
    began = time.perf_counter()
    for index in chosen:
        reader[int(index)]
    return len(ClipReader(str(clip))), (time.perf_counter() - began) / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="make a clip, and do no more")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--run", type=Path, help="a run to predict with, beside the small network")
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--every", type=int, default=5, help="frames of which the run is given one")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write_clip(asked.write, asked.seconds)
    elif asked.predict:
        predict(asked.predict, asked.run, asked.every, asked.out)
    else:
        compare(asked.run, asked.every)


def compare(run: Path | None, every: int) -> None:
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {SIZE[0]}x{SIZE[1]} at {RATE} frames/s")
    peaks = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for length in LENGTHS:
            write_clip(folder / f"{length}.mp4", length)
            for name, model, step in [("small network", None, 1), *([(str(run), run, every)] if run else [])]:
                frames, seconds, peak = measured(folder / f"{length}.mp4", model, step, folder)
                print(
                    f"{name}, {length} s, every {step}: {frames} frames, {frames / seconds:.1f}/s, peak {peak:.0f} MB"
                )
                peaks += [peak] if model is None else []
        taken, milliseconds = single_frames(folder / f"{LENGTHS[1]}.mp4")
        print(f"as a target, {LENGTHS[1]} s: {taken} frames are taken, one in any order in {milliseconds:.0f} ms")
    growth = max(later / sooner for sooner, later in pairwise(peaks))
    print(f"peak of one length over the one before, at most: {growth:.3f}, wanted {WANTED}")
    sys.exit(growth > WANTED)


if __name__ == "__main__":
    main()
