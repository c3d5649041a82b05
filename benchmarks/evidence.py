"""Evidence of 100 000 images of 150 classes, as large as ADE20K's training set five times over: memory and time.

Wanted: what is kept of the images, and a bootstrap over them of 1000 resamples, in less than 2 GB of this process. A
confusion matrix per image would take 18 GB. Every image shows 12 classes and takes each for up to 12 others.
"""

import argparse
import resource
import sys
import time

import numpy as np

from minorkey.evaluation.bootstrap import RESAMPLES, score_interval
from minorkey.tasks.segmentation.evidence import Cells, PixelEvidence

WANTED = 2.0
"""GB, the most that the process holds at any time."""


def image(rng: np.random.Generator, classes: int, shown: int = 12) -> Cells:
    """The cells of one image's confusion matrix that are not 0."""
    truth, predicted = (rng.choice(classes, shown, replace=False) for _ in range(2))
    cells = np.unique(np.concatenate([truth * (classes + 1), (truth[:, None] * classes + predicted).ravel()]))
    return cells.astype(np.int32), rng.integers(1, 2000, len(cells), dtype=np.int32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    evidence = PixelEvidence.of([image(rng, options.classes) for _ in range(options.images)], options.classes)
    kept = sum(column.nbytes for column in evidence.stored("ade").values()) / 1e9
    started = time.monotonic()
    interval = score_interval(evidence, resamples=options.resamples)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{options.images} images of {options.classes} classes, mIoU {evidence.score():.4f} {tuple(interval)}")
    print(f"kept: {kept:.2f} GB; {options.resamples} resamples: {seconds:.0f} s")
    print(f"peak of the process: {peak:.2f} GB (wanted: below {WANTED:g})")
    return int(peak >= WANTED)


if __name__ == "__main__":
    sys.exit(main())
