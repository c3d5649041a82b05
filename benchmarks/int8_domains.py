"""What 8 bits cost in each domain: the shipped segmenter as its run, as ONNX, and in int8 by two calibrations.

    python benchmarks/int8_domains.py [--images 40] [--out FOLDER]

Ranges are measured on the scenes that a training would see, and judged on others.
`day alone` is what `minorkey export` refuses: it is made here, past that check, to see what it costs.
"""

import argparse
import io
import tempfile
from pathlib import Path

import torch
from rich.console import Console

import minorkey
from minorkey.export import int8
from minorkey.export.deploy_options import DeployOptions
from minorkey.export.run import export_run

DOMAINS = ["clear", "dusk", "night", "fog", "rain", "snow"]
CALIBRATED = {
    "several domains": ("world:clear", "world:night", "world:fog"),
    "day alone": ("world:clear",),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--images", type=int, default=40, help="judged of each domain")
    arguments.add_argument("--calibrated-on", type=int, default=16, help="images of each domain")
    arguments.add_argument("--out", type=Path, default=None)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        report(given.out or Path(folder), given.images, given.calibrated_on)


def report(out: Path, images: int, calibrated_on: int) -> None:
    """Print a table of mIoU: a row for each domain, a column for each file."""
    run = out / "shipped"
    quiet = Console(file=io.StringIO())
    start = {"method": "frozen", "head_from": "builtin", "training": {"steps": 0}, "evaluation": {"images": 1}}
    minorkey.train("demo", out=run, console=quiet, **start)
    files = {"the run": run, "ONNX": export_run(run, "onnx", out=out / "onnx").folder / "model.onnx"}
    least = int8.LEAST_DOMAINS
    for name, data in CALIBRATED.items():
        int8.LEAST_DOMAINS = min(least, len(data))
        deploy = DeployOptions(int8=True, calibrate=data, images=calibrated_on)
        folder = export_run(run, "onnx", out=out / name.replace(" ", "-"), deploy=deploy).folder
        files[f"int8, {name}"] = folder / "model.onnx"
    int8.LEAST_DOMAINS = least
    judged = {"source": False, "images": images, "pictures": 0}
    unseen = [f"world:{domain}" for domain in DOMAINS]
    columns = {}
    for place, (name, file) in enumerate(files.items()):
        scores = minorkey.evaluate(file, unseen=unseen, out=out / f"scores-{place}", evaluation=judged, console=quiet)
        columns[name] = {score.domain: 100 * score.score for score in scores.domains}
    print(f"| domain | {' | '.join(files)} |")
    print(f"|---|{'---:|' * len(files)}")
    for domain in DOMAINS:
        print(f"| {domain} | {' | '.join(f'{column[domain]:.1f}' for column in columns.values())} |")
    sizes = [f"{name} {file.stat().st_size / 1e6:.1f} MB" for name, file in files.items() if file.is_file()]
    print("\n" + ", ".join(sizes))


if __name__ == "__main__":
    main()
