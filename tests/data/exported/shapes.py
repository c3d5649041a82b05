"""CVAT for images, Labelme and Supervisely: shapes in files of their own."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from exported.scene import HEIGHT, WIDTH, photo, text


def cvat_images(root: Path) -> None:
    """CVAT, 'CVAT for images 1.1' of a project: polygons, a box, a mask, layers, subsets, what has no area."""
    labels = "".join(
        f"<label><name>{name}</name><color>#fa3253</color><type>any</type><attributes></attributes></label>"
        for name in ("car", "road")
    )
    meta = f"<version>1.1</version><meta><project><id>7</id><labels>{labels}</labels></project></meta>"
    manual = 'source="manual" occluded="0"'
    images = []
    for number, (split, key) in enumerate((("train", "a"), ("train", "b"), ("validation", "c"))):
        corners = "1.00,1.00;4.00,1.00;4.00,3.00;1.00,3.00"
        car = f'<polygon label="car" {manual} points="{corners}" z_order="1"></polygon>'
        if key == "b":
            whole = 'rle="0, 6" left="1" top="1" width="3" height="2"'
            car = f'<mask label="car" {manual} {whole} z_order="1"></mask>'
        below = f'<box label="road" {manual} xtl="1.0" ytl="1.0" xbr="3.0" ybr="2.0" z_order="0"></box>'
        road = f'<box label="road" {manual} xtl="0.00" ytl="3.00" xbr="6.00" ybr="4.00" z_order="0"></box>'
        line = f'<polyline label="road" {manual} points="0.0,0.0;5.0,0.0" z_order="5"></polyline>'
        shapes = car + line + road if key != "c" else car + below + road
        size = f'width="{WIDTH}" height="{HEIGHT}"'
        images.append(f'<image id="{number}" name="{key}.jpg" subset="{split}" task_id="9" {size}>{shapes}</image>')
        photo(root / "images" / split / f"{key}.jpg")
    head = '<?xml version="1.0" encoding="utf-8"?>'
    text(root / "annotations.xml", f"{head}\n<annotations>{meta}{''.join(images)}</annotations>")


def labelme(root: Path) -> None:
    """Labelme: JSON beside the images, which it holds too; a mask, a line; one image is not labelled."""
    for key in "ab":
        photo(root / f"{key}.jpg")
        car: dict[str, Any] = {"label": "car", "points": [[1, 1], [4, 1], [4, 3], [1, 3]], "shape_type": "polygon"}
        if key == "b":
            png = io.BytesIO()
            Image.fromarray(np.ones((2, 3), bool)).save(png, "png")
            whole = base64.b64encode(png.getvalue()).decode()
            car = {"label": "car", "points": [[1.0, 1.0], [3.0, 2.0]], "shape_type": "mask", "mask": whole}
        shapes = [
            {"label": "road", "points": [[0, 3], [6, 4]], "shape_type": "rectangle"},
            car,
            {"label": "road", "points": [[0, 0], [5, 0]], "shape_type": "line"},
        ]
        more = {"group_id": None, "description": "", "flags": {}}
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": [{**shape, **more} for shape in shapes],
            "imagePath": f"..\\streets\\{key}.jpg",
            "imageData": base64.b64encode(b'"label": "no class"').decode(),
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        text(root / f"{key}.json", json.dumps(content, indent=2))
    photo(root / "unlabelled.jpg")


def supervisely(root: Path) -> None:
    """Supervisely: a project of two data sets; polygons, a rectangle, a bitmap, a line."""
    classes = [
        {"title": title, "shape": "any", "color": "#FA3253", "geometry_config": {}, "id": number, "hotkey": ""}
        for number, title in enumerate(("car", "road"), 11)
    ]
    meta = {
        "classes": classes,
        "tags": [],
        "projectType": "images",
        "projectSettings": {"multiView": {"enabled": False}},
    }
    text(root / "meta.json", json.dumps(meta))
    png = io.BytesIO()
    inside = Image.fromarray(np.ones((2, 3), np.uint8))
    inside.putpalette([0, 0, 0, 255, 255, 255])
    inside.save(png, "png", transparency=0, optimize=0)
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    car = {"classTitle": "car", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [1, 1]}}
    corners = {"exterior": [[1, 1], [4, 1], [4, 3], [1, 3]], "interior": []}
    road = {"exterior": [[0, 3], [6, 3], [6, 4], [0, 4]], "interior": []}
    drawn = {
        "a.b": [
            {
                "classTitle": "road",
                "geometryType": "rectangle",
                "points": {"exterior": [[0, 3], [5, 3]], "interior": []},
            },
            {"classTitle": "car", "geometryType": "polygon", "points": corners},
            {"classTitle": "road", "geometryType": "line", "points": {"exterior": [[0, 0], [5, 0]], "interior": []}},
        ],
        "c": [{"classTitle": "road", "geometryType": "polygon", "points": road}, car],
    }
    for split in ("train", "val"):
        for key, objects in drawn.items():
            photo(root / split / "img" / f"{key}.jpg")
            more = {
                "description": "",
                "labelerLogin": "x",
                "createdAt": "2026-05-01T10:00:00.000Z",
                "tags": [],
                "classId": 11,
            }
            whole = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}}
            rows = [{"id": number, **row, **more} for number, row in enumerate(objects)]
            text(root / split / "ann" / f"{key}.jpg.json", json.dumps({**whole, "objects": rows}))
