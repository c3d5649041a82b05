"""Images per second and core from 2048x1024 files to 512x512 crops: wanted 3 times those of PNG, from JPEG or a cache.

    python benchmarks/loader.py [--images 6] [--turns 120] [--draws 300]

The path of every crop is that of a training: a reader opens image and labels, the transform cuts out the window. The
same scenes lie there as PNG, as JPEG (quality 90, chroma halved, a size as cameras write it; labels stay PNG), and as
PNG with their pixels in a cache. Beside them stands what a PNG took before JPEG, caches and the faster map of ids were
at hand: the same steps with ids mapped by index. Where the cache lies on a disk that is slower than memory, its files
come from there the first time; here they are in the system's memory, as those of the PNG are.

A second comparison is that with resizing first, from PNG: wanted 1.5 times as many.

Decode image and labels, scale to a short side of 256 ... 1024, crop so that no class covers more than 75 %, flip,
photometric distortion, normalise. The reference, written here, does so in the order of the words, one image at a time:
the whole image and its labels are resized, then cropped, and Pillow changes the colours. minorkey resizes the window
only and leaves the colours to the device, where a batch is changed at once. Both read files by the same functions
and draw the same random numbers, so that their crops can be compared one by one.

Inflating the PNG is most of the work and the same for both: it bounds the ratio, which is therefore given with
decoding, which counts, and without. Where no GPU is at hand, the process that trains changes the colours on the
processor after all; a third ratio adds that.

The images are scenes of the built-in world, rendered at 1024x512 and enlarged, with noise that makes their files about
as large as those of Cityscapes (2.3 MB). Processor time of this one process counts, one torch thread; all take turns
on the same image, medians count, and the interval of a ratio is a bootstrap over the turns.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image

from minorkey.data.images import read_image
from minorkey.data.label_images import read_ids
from minorkey.data.loaders import Collate, Crop
from minorkey.data.photometric import Distortion, draw_distortion
from minorkey.data.raw_cache import RawCache
from minorkey.data.readers import Reader, open_datasets
from minorkey.data.sample import RawBatch, Sample
from minorkey.data.transforms import CROP_TRIES, TransformConfig, resize_window
from minorkey.labels import IGNORE_INDEX, apply_id_map, label_space
from minorkey.tasks.segmentation.crops import choose_window
from minorkey.tasks.segmentation.task import Segmentation
from minorkey.world import render

WANTED = 1.5
WANTED_OF_PNG = 3.0
CLASSES = 19
NOISE = 0.7  # grey levels
JPEG = {"quality": 90, "subsampling": "4:2:0"}
CONFIG = TransformConfig(max_long_side=2048)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPACE = label_space("cityscapes19")
LOOKUP = SPACE.id_map({**dict(enumerate(SPACE.classes)), IGNORE_INDEX: "ignore"})


@dataclass(frozen=True)
class Files:
    """An image and its labels on disk."""

    image: Path
    labels: Path

    def read_labels(self) -> np.ndarray:
        """The train ids."""
        return apply_id_map(read_ids(self.labels), LOOKUP, self.labels)

    def read(self) -> Sample:
        """Both, as a reader hands them out."""
        return Sample(image=read_image(self.image), domain="street", key=self.image.stem, labels=self.read_labels())


def write_files(folder: Path, count: int) -> list[Files]:
    files = []
    for index in range(count):
        sample = render(0, index, size=(1024, 512))
        image = Image.fromarray(sample.image).resize((2048, 1024), Image.Resampling.BICUBIC)
        noise = np.random.default_rng(index).normal(0, NOISE, (1024, 2048, 3)).round()
        pair = Files(folder / f"{index}.png", folder / f"{index}_labels.png")
        Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8)).save(pair.image)
        Image.fromarray(sample.labels).resize((2048, 1024), Image.Resampling.NEAREST).save(pair.labels)
        files.append(pair)
    return files


# Where pixels come from.


def old_train_ids(ids: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    """Train ids as they were found before: by index, and checked pixel by pixel."""
    in_table = np.clip(ids, 0, 255)
    mapped = lookup[in_table]
    assert not ((mapped < 0) | (ids != in_table)).any()
    return mapped.astype(np.uint8)


def open_formats(folder: Path, files: list[Files]) -> dict[str, Reader]:
    """The same scenes as data sets: PNG, JPEG, and PNG with a cache."""
    roots = {form: folder / form for form in ("png", "jpg")}
    for form, root in roots.items():
        for kind in ("images", "labels"):
            (root / kind / "train").mkdir(parents=True)
        for pair in files:
            image = root / "images" / "train" / f"{pair.image.stem}.{form}"
            if form == "png":
                image.hardlink_to(pair.image)
            else:
                Image.open(pair.image).save(image, **JPEG)
            (root / "labels" / "train" / pair.image.name).hardlink_to(pair.labels)
        ids = {**dict(enumerate(SPACE.classes)), IGNORE_INDEX: "ignore"}
        (root / "dataset.yaml").write_text(f"ids: {json.dumps(ids)}\n")

    def opened(form: str, cache: RawCache | None = None) -> Reader:
        return open_datasets(str(roots[form]), role="source", label_space=SPACE, cache=cache)[0]

    return {"PNG": opened("png"), "JPEG": opened("jpg"), "cache": opened("png", RawCache(folder / "cache"))}


def before(pair: Files, seed: int) -> RawBatch:
    """A crop from PNG as it was made before."""
    labels = old_train_ids(read_ids(pair.labels), LOOKUP)
    return minorkey(Sample(read_image(pair.image), "street", pair.image.stem, labels), seed)


def by_pillow(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def measure_decoders(files: list[Path], turns: int) -> list[float]:
    """Median milliseconds to decode a JPEG, by Pillow and by what minorkey reads it with."""
    rows = []
    for turn in range(turns):
        file = files[turn % len(files)]
        (slow, expected), (fast, pixels) = timed(by_pillow, file), timed(read_image, file)
        assert np.abs(expected.astype(int) - pixels).max() <= 2
        rows.append((slow, fast))
    return [1e3 * float(np.median(column)) for column in zip(*rows, strict=True)]


def measure_formats(readers: dict[str, Reader], files: list[Files], turns: int) -> dict[str, np.ndarray]:
    """Seconds from file to crop, in every turn."""
    rows = []
    for turn in range(turns + len(files)):
        place = turn % len(files)
        calls: dict[str, Callable[[], RawBatch]] = {"PNG before": lambda: before(files[place], turn)}  # noqa: B023
        calls |= {name: lambda r=reader: minorkey(r[place], turn) for name, reader in readers.items()}  # noqa: B023
        names = list(calls)
        row = {name: timed(calls[name]) for name in names[turn % len(names) :] + names[: turn % len(names)]}
        assert torch.equal(row["PNG"][1].images, row["cache"][1].images)
        assert torch.equal(row["PNG"][1].labels, row["cache"][1].labels)
        rows.append({name: seconds for name, (seconds, _) in row.items()})
    kept = rows[len(files) :]  # the first round warms up, and fills the cache
    return {name: np.array([row[name] for row in kept]) for name in rows[0]}


# The reference: resize, then crop, one image at a time.


def resize_then_crop(sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The crop (512, 512, 3) and its labels, before the colours are changed."""
    height, width = sample.image.shape[:2]
    short = rng.choice(CONFIG.scale_ratios) * min(CONFIG.crop)
    scale = min(short / min(height, width), CONFIG.max_long_side / max(height, width))
    size = (round(width * scale), round(height * scale))
    image = np.asarray(Image.fromarray(sample.image).resize(size, Image.Resampling.BILINEAR))
    labels = np.asarray(Image.fromarray(sample.labels).resize(size, Image.Resampling.NEAREST))
    for _ in range(CROP_TRIES):
        top = int(rng.integers(max(size[1] - CONFIG.crop[0], 0) + 1))
        left = int(rng.integers(max(size[0] - CONFIG.crop[1], 0) + 1))
        place = (slice(top, top + CONFIG.crop[0]), slice(left, left + CONFIG.crop[1]))
        counts = np.bincount(labels[place].ravel(), minlength=256)[:IGNORE_INDEX]
        if counts.max() <= CONFIG.max_class_share * counts.sum():
            break
    image, labels = image[place], labels[place]
    return (image[:, ::-1], labels[:, ::-1]) if rng.random() < CONFIG.flip else (image, labels)


def change_tones(image: np.ndarray, factor: float, offset: float) -> np.ndarray:
    return (np.arange(256) * factor + offset).clip(0, 255).round().astype(np.uint8)[image]


def change_colours(image: np.ndarray, factor: float, degrees: float) -> np.ndarray:
    levels = np.arange(256)
    table = [(levels + round(degrees * 256 / 360)) % 256, (levels * factor).clip(0, 255).round(), levels]
    hsv = Image.fromarray(np.ascontiguousarray(image)).convert("HSV")
    return np.asarray(hsv.point(np.concatenate(table).astype(int).tolist()).convert("RGB"))


def change_by_pillow(image: np.ndarray, change: Distortion) -> np.ndarray:
    if change.brightness:
        image = change_tones(image, 1, 255 * change.brightness)
    if change.contrast != 1 and not change.contrast_last:
        image = change_tones(image, change.contrast, 0)
    if change.saturation != 1 or change.hue:
        image = change_colours(image, change.saturation, change.hue)
    if change.contrast != 1 and change.contrast_last:
        image = change_tones(image, change.contrast, 0)
    return image


def reference(sample: Sample, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The crop `(3, 512, 512)`, normalised, with labels; the border where there is one is 0 and ignored."""
    rng = np.random.default_rng(seed)
    image, labels = resize_then_crop(sample, rng)
    image = change_by_pillow(image, draw_distortion(CONFIG.photometric, rng))
    pixels = np.zeros((*CONFIG.crop, 3), np.float32)
    pixels[: image.shape[0], : image.shape[1]] = (image / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    canvas = np.full(CONFIG.crop, IGNORE_INDEX, np.int64)
    canvas[: labels.shape[0], : labels.shape[1]] = labels
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), torch.from_numpy(canvas)


def minorkey(sample: Sample, seed: int) -> RawBatch:
    """What a worker of minorkey does, as a batch of one."""
    rng = np.random.default_rng(seed)
    task = Segmentation()
    crop = task.crop(sample, CONFIG, rng)
    return Collate(task, CONFIG.crop, MEAN, STD)([Crop(crop, draw_distortion(CONFIG.photometric, rng))])


# Measuring.


def timed(function: Callable, *args: object) -> tuple[float, object]:
    started = process_time()
    result = function(*args)
    return process_time() - started, result


def measure(files: list[Files], turns: int) -> dict[str, np.ndarray]:
    """Seconds of every stage in every turn."""
    rows = []
    for turn in range(turns + len(files)):
        pair = files[turn % len(files)]
        image, _ = timed(read_image, pair.image)
        labels, _ = timed(pair.read_labels)
        sample = pair.read()
        calls = [("reference", reference), ("minorkey", minorkey)]
        row = {"image": image, "labels": labels}
        for name, call in calls if turn % 2 else calls[::-1]:
            row[name], result = timed(call, sample, turn)
            if name == "minorkey":
                raw = result
        row["colours"], _ = timed(raw.to, "cpu")
        rows.append(row)
    kept = rows[len(files) :]  # the first round warms up
    return {name: np.array([row[name] for row in kept]) for name in rows[0]}


def ratio(slow: np.ndarray, fast: np.ndarray) -> str:
    drawn = np.random.default_rng(0).integers(len(slow), size=(2000, len(slow)))
    low, high = np.percentile(np.median(slow[drawn], axis=1) / np.median(fast[drawn], axis=1), [2.5, 97.5])
    return f"{np.median(slow) / np.median(fast):.2f} [{low:.2f}, {high:.2f}]"


def split(files: list[Files], turns: int) -> dict[str, float]:
    """Median milliseconds of the parts of a worker's crop."""
    window, image, rest = [], [], []
    for turn in range(turns):
        sample, rng = files[turn % len(files)].read(), np.random.default_rng(turn)
        seconds, (place, _) = timed(choose_window, sample, CONFIG, rng)
        window.append(seconds)
        image.append(timed(resize_window, sample.image, place)[0])
        rest.append(timed(minorkey, sample, turn)[0] - window[-1] - image[-1])
    return {
        name: 1e3 * float(np.median(values))
        for name, values in {"window and its labels": window, "resize": image, "flip, draw, collate": rest}.items()
    }


def compare(files: list[Files], draws: int) -> list[tuple[str, float, float]]:
    """Statistics of the crops of both, over the same draws."""
    samples = [pair.read() for pair in files]
    shares, colours, spreads, filled, largest, same = ([] for _ in range(6))
    for seed in range(draws):
        sample = samples[seed % len(samples)]
        expected, labels = reference(sample, seed)
        batch = minorkey(sample, seed).to("cpu")
        both = [(expected, labels), (batch.pixel_values[0], batch.labels[0])]
        counts = [np.bincount(each.ravel(), minlength=256)[:CLASSES] for _, each in both]
        shares.append([count / count.sum() for count in counts])
        largest.append([count.max() / count.sum() for count in counts])
        colours.append([pixels.mean((1, 2)).numpy() for pixels, _ in both])
        spreads.append([float(pixels.std()) for pixels, _ in both])
        filled.append([float((each != IGNORE_INDEX).float().mean()) for _, each in both])
        same.append(float((labels == batch.labels[0]).float().mean()))
    share, colour = np.mean(shares, axis=0), np.mean(colours, axis=0)
    rows = [(f"share of {SPACE.classes[k]}", *share[:, k]) for k in np.argsort(-share[0])[:6]]
    rows += [(f"mean {name}, normalised", *colour[:, k]) for k, name in enumerate(("red", "green", "blue"))]
    rows += [("spread of the pixels", *np.mean(spreads, axis=0)), ("filled and labelled", *np.mean(filled, axis=0))]
    rows += [("largest class share, mean", *np.mean(largest, axis=0))]
    rows += [(f"largest class share, {q} %", *np.percentile(largest, q, axis=0)) for q in (10, 90)]
    return [*rows, ("labels that agree", 1.0, float(np.mean(same)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--turns", type=int, default=120)
    parser.add_argument("--draws", type=int, default=300, help="crops that are compared")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), options.images)
        sizes = [pair.image.stat().st_size for pair in files]
        print(f"{len(files)} PNG of 2048x1024, {np.mean(sizes) / 1e6:.2f} MB each; {platform.machine()}, one thread")
        seconds = measure(files, options.turns)
        parts = split(files, options.turns // 2)
        rows = compare(files, options.draws)
        formats = measure_formats(open_formats(Path(folder), files), files, options.turns)
        photos = sorted(Path(folder).glob("jpg/images/*/*"))
        decoders = measure_decoders(photos, options.turns)
        sizes = [file.stat().st_size for file in photos]
    decode = seconds["image"] + seconds["labels"]
    worker, resized_first = decode + seconds["minorkey"], decode + seconds["reference"]
    print("\n| part | ms |\n|---|---:|")
    stages = {"decode image": seconds["image"], "decode and map labels": seconds["labels"]}
    for name, value in {**{name: 1e3 * np.median(each) for name, each in stages.items()}, **parts}.items():
        print(f"| {name} | {value:.1f} |")
    print(f"| colours and normalising of a batch of 1, on the processor | {1e3 * np.median(seconds['colours']):.1f} |")
    print(f"| reference: resize, crop, flip, colours, normalise | {1e3 * np.median(seconds['reference']):.1f} |")
    print(f"\nimages/s per core: minorkey {1 / np.median(worker):.1f}, reference {1 / np.median(resized_first):.1f}")
    print(f"ratio, decoding included: {ratio(resized_first, worker)} (wanted: {WANTED})")
    print(f"ratio, decoding left out: {ratio(seconds['reference'], seconds['minorkey'])}")
    print(f"ratio, decoding included, colours on the processor: {ratio(resized_first, worker + seconds['colours'])}")
    print(f"\n| {options.draws} crops of the same seeds | reference | minorkey |\n|---|---:|---:|")
    for name, first, second in rows:
        print(f"| {name} | {first:.4f} | {second:.4f} |")
    print(f"\nFrom file to crop; JPEG of {np.mean(sizes) / 1e6:.2f} MB, pixels of an image 6.3 MB\n")
    print("| | ms | images/s per core | over PNG before |\n|---|---:|---:|---:|")
    for name, values in formats.items():
        rate = 1 / np.median(values)
        print(f"| {name} | {1e3 / rate:.1f} | {rate:.1f} | {ratio(formats['PNG before'], values)} |")
    print(f"\nDecoding a JPEG, ms: Pillow {decoders[0]:.1f}, minorkey {decoders[1]:.1f}")
    fastest = min(np.median(formats["JPEG"]), np.median(formats["cache"]))
    gain = np.median(formats["PNG before"]) / fastest
    print(f"\nJPEG or cache over PNG before: {gain:.2f} (wanted: {WANTED_OF_PNG})")
    return int(np.median(resized_first) / np.median(worker) < WANTED or gain < WANTED_OF_PNG)


if __name__ == "__main__":
    sys.exit(main())
