"""Label images: in folders, as Roboflow and MMSegmentation have them, and as tables name them."""

from pathlib import Path

import numpy as np

from exported.scene import LABELS, ids_png, photo, text


def roboflow_masks(root: Path) -> None:
    """Roboflow, 'Semantic Segmentation Masks': masks beside the images, what their values are in a table."""
    for split in ("train", "valid"):
        text(root / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, car\n2, road\n")
        for key in "ab":
            photo(root / split / f"{key}_jpg.rf.0{key}.jpg")
            ids_png(root / split / f"{key}_jpg.rf.0{key}_mask.png", LABELS)


def mmsegmentation(root: Path) -> None:
    """mmsegmentation: img_dir and ann_dir, a suffix behind the names of labels, a list of classes beside."""
    text(root / "classes.txt", "background\ncar\nroad\n")
    for split in ("train", "val"):
        for key in "ab":
            photo(root / "img_dir" / split / f"{key}.jpg")
            ids_png(root / "ann_dir" / split / f"{key}_labelTrainIds.png", LABELS)


def plain_masks(root: Path) -> None:
    """Masks of 0 and 255, as many tools and papers have them."""
    for key in "ab":
        photo(root / "images" / f"{key}.jpg")
        ids_png(root / "masks" / f"{key}.png", np.where(LABELS == 1, 255, 0))


def table_of_masks(root: Path) -> None:
    """A table by hand: paths of Windows, names that are not alike, a split and an image without a mask."""
    text(root / "classes.txt", "background\ncar\nroad\n")
    lines = ["Image,Label,Split,note"]
    for split, keys in (("train", "ab"), ("val", "cd"), ("test", "e")):
        for key in keys:
            photo(root / "camera" / f"{key}.jpg")
            lines.append(f"camera\\{key}.jpg,{f'drawn/of_{key}.png' if split != 'test' else ''},{split},")
            ids_png(root / "drawn" / f"of_{key}.png", LABELS)
    text(root / "data.csv", "\n".join(lines) + "\n", "utf-8-sig")


def tables_of_splits(root: Path) -> None:
    """A table for each split, other tables beside."""
    text(root / "classes.txt", "background\ncar\nroad\n")
    text(root / "weather.csv", "image,weather\ncamera/a.jpg,rain\n")
    for split, keys in (("train", "ab"), ("valid", "cd")):
        rows = [f"./camera/{key}.jpg,drawn/{key}_mask.png" for key in keys]
        text(root / f"{split}.csv", "\n".join(["image,mask", *rows]) + "\n")
        for key in keys:
            photo(root / "camera" / f"{key}.jpg")
            ids_png(root / "drawn" / f"{key}_mask.png", LABELS)
