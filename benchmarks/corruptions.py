"""Claim: every corruption takes at most half a second for an image of 1024x512 pixels on one core.

    python benchmarks/corruptions.py [--rounds 3]

Counts the processor time of this one process, so that other work on the machine disturbs less; the best round
counts, at severity 5, which is the slowest. The image is a scene of the built-in world. Exits with code 1 if one
corruption takes longer.
"""

import argparse
import os
import sys
from time import process_time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from minorkey.data.corruptions import CORRUPTIONS, Corruption
from minorkey.world import render

SIZE = (1024, 512)
WANTED = 0.5  # seconds per image


def seconds(name: str, image: np.ndarray, rounds: int) -> float:
    corruption = Corruption(name, 5)
    corruption.apply(image, "warm-up")
    times = []
    for number in range(rounds):
        start = process_time()
        corruption.apply(image, str(number))
        times.append(process_time() - start)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description="images/s per corruption on one core, 1024x512, severity 5")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    image = render(0, 0, "clear", size=SIZE).image
    spent = {name: seconds(name, image, options.rounds) for name in CORRUPTIONS}
    print("| corruption | s/image | images/s |\n|---|---:|---:|")
    for name, each in spent.items():
        print(f"| {name} | {each:.3f} | {1 / each:.1f} |")
    slowest = max(spent, key=spent.__getitem__)
    print(f"\nslowest: {slowest}, {spent[slowest]:.3f} s (wanted: at most {WANTED} s)")
    return int(spent[slowest] > WANTED)


if __name__ == "__main__":
    sys.exit(main())
