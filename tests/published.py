"""Tiny data sets in the exact layout, names and ids of the published ones: one per row and form of the table.

What is expected of their labels is written out by hand as Cityscapes train ids.
"""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 256, (2, 4, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Published:
    """A split of a data set as its makers publish it."""

    split: str
    files: dict[str, bytes]
    labels: dict[tuple[str, str], list[list[int]] | None]  # (domain, key) -> train ids
    space: str = "cityscapes19"
    domains: int = 1


def picture(suffix: str = "png", size: tuple[int, int] = (2, 4)) -> bytes:
    return _saved(Image.fromarray(np.resize(RGB, (*size, 3))), suffix)


def grey(ids: list[list[int]]) -> bytes:
    return _saved(Image.fromarray(np.array(ids, np.uint8)))


def palette(ids: list[list[int]]) -> bytes:
    image = Image.fromarray(np.array(ids, np.uint8), mode="P")
    image.putpalette([255 - level // 3 for level in range(768)])
    return _saved(image)


def painted(colours: list[list[tuple[int, int, int]]]) -> bytes:
    return _saved(Image.fromarray(np.array(colours, np.uint8)))


def deep(ids: list[list[int]], channels: int = 3) -> bytes:
    """A 16-bit colour PNG by hand, for Pillow writes none: ids in the first channel, instances in the second."""
    values = np.zeros((*np.shape(ids), channels), ">u2")
    values[..., 0] = ids
    values[..., 1] = 1000 + np.arange(values[..., 1].size).reshape(np.shape(ids))
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    kind = {3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _saved(image: Image.Image, suffix: str = "png") -> bytes:
    stream = io.BytesIO()
    image.save(stream, {"png": "PNG", "jpg": "JPEG"}[suffix])
    return stream.getvalue()


def write_loose(files: dict[str, bytes], root: Path) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def write_zip(files: dict[str, bytes], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for index, (name, content) in enumerate(files.items()):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if index % 2 else zipfile.ZIP_STORED)


def write_tar(files: dict[str, bytes], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


# All ids of Cityscapes that count, by row; and their train ids.
FINE = [[7, 8, 11, 12], [17, 19, 20, 0]]
FINE_TRAIN = [[0, 1, 2, 3], [5, 6, 7, 255]]
TRAIN = [[0, 1, 18, 255], [8, 13, 10, 2]]
FRANKFURT = "frankfurt/frankfurt_000000_000294"
CITY = f"gtFine/val/{FRANKFURT}_gtFine_labelIds.png"
GOPRO = "GOPR0122/GOPR0122_frame_000161"
RAIN = "alpha_0.01_beta_0.005_dropsize_0.01_pattern_1", "alpha_0.03_beta_0.015_dropsize_0.002_pattern_12"
POLYGONS = {
    "imgHeight": 2,
    "imgWidth": 4,
    "objects": [
        {"label": "sky", "polygon": [[0, 0], [3, 0], [3, 0]]},
        {"label": "road", "polygon": [[0, 1], [1, 1], [1, 1]]},
        {"label": "cargroup", "polygon": [[1, 1], [2, 1], [2, 1]]},
        {"label": "bus", "deleted": 1, "polygon": [[0, 0], [3, 0], [3, 1]]},
    ],
}


def _acdc(domains: list[str], valid: bool) -> Published:
    files = {}
    for number, domain in enumerate(domains):
        files[f"rgb_anon/{domain}/val/{GOPRO}_rgb_anon.png"] = picture()
        files[f"rgb_anon/{domain}/val_ref/{GOPRO}_rgb_ref_anon.png"] = picture()
        files[f"gt/{domain}/val/{GOPRO}_gt_labelTrainIds.png"] = grey([[number] * 4, TRAIN[1]])
        files[f"gt/{domain}/val/{GOPRO}_gt_labelIds.png"] = grey(FINE)
        files[f"gt/{domain}/val/{GOPRO}_gt_invIds.png"] = grey([[0, 0, 0, 1], [0, 0, 0, 0]])
    name = "acdc-valid" if valid else "acdc"
    return Published(
        "val",
        files,
        {
            (f"{name}-{domain}", GOPRO): [[number] * 3 + [255 if valid else number], TRAIN[1]]
            for number, domain in enumerate(domains)
        },
        domains=len(domains),
    )


WEATHER = ["fog", "night", "rain", "snow"]
PUBLISHED: dict[str, list[Published]] = {
    "airsim": [
        Published(
            "train",
            {"images/train/b/1.png": picture(), "labels/train/b/1.png": grey([[0, 1, 2, 3], [4, 5, 6, 255]])},
            {("airsim", "b/1"): [[0, 1, 2, 3], [4, 5, 6, 255]]},
            space="street7",
        )
    ],
    "cityscapes": [
        Published(
            "val",
            {
                f"leftImg8bit/val/{FRANKFURT}_leftImg8bit.png": picture(),
                CITY: grey(FINE),
                CITY.replace("labelIds", "instanceIds"): grey(FINE),
                CITY.replace("labelIds", "color"): picture(),
            },
            {("cityscapes", FRANKFURT): FINE_TRAIN},
        )
    ],
    "foggy-cityscapes": [
        Published(
            "val",
            {
                f"leftImg8bit_foggy/val/{FRANKFURT}_leftImg8bit_foggy_beta_0.02.png": picture(),
                f"leftImg8bit_foggy/val/{FRANKFURT}_leftImg8bit_foggy_beta_0.01.png": picture(),
                f"leftImg8bit_foggy/val/{FRANKFURT}_leftImg8bit_foggy_beta_0.005.png": picture(),
                CITY: grey(FINE),
            },
            {("foggy-cityscapes", FRANKFURT): FINE_TRAIN},
        )
    ],
    "rainy-cityscapes": [
        Published(
            "val",
            {
                **{f"leftImg8bit_rain/val/{FRANKFURT}_leftImg8bit_rain_{kind}.png": picture() for kind in RAIN},
                CITY: grey(FINE),
            },
            {("rainy-cityscapes", f"{FRANKFURT}_{kind}"): FINE_TRAIN for kind in RAIN},
        )
    ],
    "gta5": [
        Published(
            "train",
            {
                **{f"images/{key}.png": picture() for key in ("00001", "15188", "24966")},
                "labels/00001.png": palette(FINE),
                "labels/15188.png": palette([[7]]),
                "labels/24966.png": palette([[34, 33, 32, 31], [28, 27, 26, 25]]),
            },
            {("gta5", "00001"): FINE_TRAIN, ("gta5", "24966"): [[255, 18, 17, 16], [15, 14, 13, 12]]},
        ),
        Published(
            "train",
            {"01_images/00001.png": picture(), "01_labels/00001.png": palette(FINE), "02_images/02501.png": picture(),
             "02_labels/02501.png": palette(FINE)},
            {("gta5", "00001"): FINE_TRAIN, ("gta5", "02501"): FINE_TRAIN},
        ),
    ],
    "synthia": [
        Published(
            "train",
            {"RGB/0000000.png": picture(), "GT/LABELS/0000000.png": deep([[3, 4, 2, 21], [22, 15, 9, 11]]),
             "GT/COLOR/0000000.png": picture(), "Depth/Depth/0000000.png": picture()},
            {("synthia", "0000000"): [[0, 1, 2, 3], [255, 6, 7, 18]]},
        )
    ],
    "urbansyn": [
        Published(
            "train",
            {"rgb/rgb_0001.png": picture(), "ss/ss_0001.png": grey([[0, 1, 18, 19], TRAIN[1]]),
             "ss_color/ss_color_0001.png": picture()},
            {("urbansyn", "0001"): TRAIN},
        )
    ],
    "synscapes": [
        Published(
            "train",
            {"img/rgb/1.png": picture(), "img/class/1.png": grey(FINE), "img/rgb-2k/1.png": picture(size=(3, 6)),
             "img/instance/1.png": picture()},
            {("synscapes", "1"): FINE_TRAIN},
        )
    ],
    "bdd100k": [
        Published(
            "val",
            {"images/10k/val/7d06fefd-f7be05a6.jpg": picture("jpg"),
             "labels/sem_seg/masks/val/7d06fefd-f7be05a6.png": grey(TRAIN),
             "labels/sem_seg/colormaps/val/7d06fefd-f7be05a6.png": picture()},
            {("bdd100k", "7d06fefd-f7be05a6"): TRAIN},
        ),
        Published(
            "val",
            {"seg/images/val/7d06fefd-f7be05a6.jpg": picture("jpg"),
             "seg/labels/val/7d06fefd-f7be05a6_train_id.png": grey(TRAIN),
             "seg/color_labels/val/7d06fefd-f7be05a6_train_color.png": picture()},
            {("bdd100k", "7d06fefd-f7be05a6"): TRAIN},
        ),
    ],
    "mapillary": [
        Published(
            "val",
            {"validation/images/-6YRgC6b.jpg": picture("jpg"),
             "validation/v1.2/labels/-6YRgC6b.png": palette([[13, 24, 2, 15], [50, 19, 20, 65]]),
             "validation/v2.0/labels/-6YRgC6b.png": palette([[0] * 4] * 2)},
            {("mapillary", "-6YRgC6b"): [[0, 0, 1, 1], [7, 11, 12, 255]]},
        ),
        Published(
            "val",
            {"validation/images/-6YRgC6b.jpg": picture("jpg"),
             "validation/labels/-6YRgC6b.png": palette([[58, 55, 61, 54], [57, 52, 30, 27]])},
            {("mapillary", "-6YRgC6b"): [[16, 13, 14, 15], [17, 18, 8, 10]]},
        ),
    ],
    "mapillary-v2": [
        Published(
            "val",
            {"validation/images/-6YRgC6b.jpg": picture("jpg"),
             "validation/v1.2/labels/-6YRgC6b.png": palette([[0] * 4] * 2),
             "validation/v2.0/labels/-6YRgC6b.png": palette([[21, 35, 4, 24], [30, 32, 108, 123]])},
            {("mapillary-v2", "-6YRgC6b"): [[0, 0, 1, 1], [11, 12, 13, 255]]},
        )
    ],
    "acdc": [_acdc(WEATHER, valid=False)],
    "acdc-valid": [_acdc(WEATHER, valid=True)],
    "dark-zurich": [
        Published(
            "val",
            {"rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png": picture(),
             "rgb_anon/val_ref/day/GOPR0356_ref/GOPR0356_frame_000321_ref_rgb_anon.png": picture(),
             "gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png": grey(TRAIN)},
            {("dark-zurich", "GOPR0356/GOPR0356_frame_000321"): TRAIN},
        )
    ],
    "nighttime-driving": [
        Published(
            "test",
            {"leftImg8bit/test/night/0_frame_0001_leftImg8bit.png": picture(),
             "gtCoarse_daytime_trainvaltest/test/night/0_frame_0001_gtCoarse_labelTrainIds.png": grey(TRAIN),
             "gtCoarse_daytime_trainvaltest/test/night/0_frame_0001_gtCoarse_labelIds.png": grey(FINE)},
            {("nighttime-driving", "night/0_frame_0001"): TRAIN},
        )
    ],
    "idd": [
        Published(
            "val",
            {"leftImg8bit/val/119/903127_leftImg8bit.png": picture(),
             "leftImg8bit/val/119/903128_leftImg8bit.jpg": picture("jpg"),
             "gtFine/val/119/903127_gtFine_labellevel3Ids.png": grey([[0, 1, 2, 3], [9, 24, 25, 255]]),
             "gtFine/val/119/903128_gtFine_labellevel3Ids.png": grey([[4, 5, 6, 7], [8, 10, 11, 12]]),
             "gtFine/val/119/903127_gtFine_polygons.json": b"{}"},
            {("idd", "119/903127"): [[0, 255, 1, 9], [13, 8, 10, 255]],
             ("idd", "119/903128"): [[11, 12, 17, 18], [255, 14, 15, 255]]},
        ),
        Published(
            "val",
            {"leftImg8bit/val/119/903127_leftImg8bit.png": picture(),
             "gtFine/val/119/903127_gtFine_polygons.json": json.dumps(POLYGONS).encode()},
            {("idd", "119/903127"): [[10, 10, 10, 10], [0, 13, 13, 255]]},
        ),
    ],
    "camvid": [
        Published(
            "train",
            {"images/train/0001TP_006690.png": picture(),
             "labels/train/0001TP_006690.png": grey([[*range(4)], [8, 9, 10, 11]])},
            {("camvid", "0001TP_006690"): [[10, 2, 5, 0], [13, 11, 255, 255]]},
        ),
        Published(
            "all",
            {"701_StillsRaw_full/0001TP_006690.png": picture(),
             "LabeledApproved_full/0001TP_006690_L.png": painted(
                 [[(128, 64, 128), (128, 0, 192), (0, 0, 192), (128, 128, 0)],
                  [(64, 128, 192), (0, 128, 192), (0, 0, 0), (0, 64, 64)]])},
            {("camvid", "0001TP_006690"): [[0, 0, 1, 8], [13, 255, 255, 6]]},
        ),
        Published(
            "train",
            {"train/0001TP_006690.png": picture(), "trainannot/0001TP_006690.png": grey([[*range(4)], [8, 9, 10, 11]])},
            {("camvid", "0001TP_006690"): [[10, 2, 5, 0], [13, 11, 255, 255]]},
        ),
    ],
    "kitti": [
        Published(
            "train",
            {"training/image_2/000000_10.png": picture(), "training/semantic/000000_10.png": grey(FINE),
             "training/semantic_rgb/000000_10.png": picture(), "training/instance/000000_10.png": grey(FINE),
             "testing/image_2/000000_10.png": picture()},
            {("kitti", "000000_10"): FINE_TRAIN},
        )
    ],
    "wilddash2": [
        Published(
            "all",
            {"images/aa0000_100000.jpg": picture("jpg"),
             "labels/aa0000_100000.png": grey([[7, 38, 34, 35], [26, 18, 36, 37]]),
             "panoptic/aa0000_100000.png": picture()},
            {("wilddash2", "aa0000_100000"): [[0, 0, 14, 13], [13, 255, 255, 255]]},
        )
    ],
    "ade20k": [
        Published(
            "val",
            {"images/validation/ADE_val_00000001.jpg": picture("jpg"),
             "annotations/validation/ADE_val_00000001.png": grey([[0, 1, 2, 3], [4, 21, 149, 150]])},
            {("ade20k", "ADE_val_00000001"): [[255, 0, 1, 2], [3, 20, 148, 149]]},
            space="ade150",
        )
    ],
}  # fmt: skip
