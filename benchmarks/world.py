"""Claim: on one core the built-in world renders at least 120 samples/s, and 300 where domains share a scene.

    python benchmarks/world.py [--samples 40] [--rounds 3]

A sample is an image of 256x128 with its labels, depth and boxes. The first figures are of one domain at a time, as a
data set is read (`render`); the last one is of all domains of the town at once (`render_paired`), whose geometry is
computed once per scene. Counts the processor time of this one process, so that other work on the machine disturbs
less; the best round counts. Exits with code 1 below what is wanted.
"""

import argparse
import os
import sys
from collections.abc import Callable
from time import process_time

os.environ["OMP_NUM_THREADS"] = "1"

from minorkey.world import DOMAINS, render, render_paired

WANTED, WANTED_TOGETHER = 120.0, 300.0


def seconds_per_scene(draw: Callable[[int], object], scenes: int, rounds: int) -> float:
    draw(0)
    best = float("inf")
    for _ in range(rounds):
        start = process_time()
        for index in range(scenes):
            draw(index)
        best = min(best, (process_time() - start) / scenes)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description="samples/s of the built-in world on one core, 256x128")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds = {
        name: seconds_per_scene(lambda index, name=name: render(0, index, name), options.samples, options.rounds)
        for name in DOMAINS
        if not name.startswith("suburb-")
    }
    for name, each in seconds.items():
        print(f"{name:10s} {1 / each:6.1f} samples/s")
    overall = len(seconds) / sum(seconds.values())
    print(f"{'overall':10s} {overall:6.1f} samples/s (wanted: {WANTED:.0f})")
    town = [name for name, domain in DOMAINS.items() if domain.layout == "town"]
    scene = seconds_per_scene(lambda index: render_paired(0, index, town), options.samples, options.rounds)
    together = len(town) / scene
    print(f"{'together':10s} {together:6.1f} samples/s (wanted: {WANTED_TOGETHER:.0f}), {len(town)} domains of a scene")
    return int(overall < WANTED or together < WANTED_TOGETHER)


if __name__ == "__main__":
    sys.exit(main())
