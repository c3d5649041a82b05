"""The detection head that ships finds what it was trained to find."""

import numpy as np
import pytest

import minorkey
from minorkey.models.backbone import builtin_head
from minorkey.tasks.detection.matching import box_overlap
from minorkey.world import render

SEED = 2  # of scenes that it has not seen


@pytest.fixture(scope="module")
def detector():
    return minorkey.load(builtin_head("detector"))


def recall(detector, scenes: int, tall: int = 16) -> float:
    """Share of the tall objects that one of the 30 surest boxes of their class overlaps by half, in clear scenes."""
    found, total = 0, 0
    for index in range(scenes):
        scene = render(SEED, index, "clear", size=(256, 128))
        said = detector.predict(scene.image)
        for box, name in zip(scene.boxes, scene.box_classes, strict=True):
            if box[3] - box[1] < tall:
                continue
            ours = said.boxes[:30][said.classes[:30] == name]
            total += 1
            found += bool(len(ours)) and box_overlap(ours, box[None], np.zeros(1, bool)).max() >= 0.5
    assert total > 20
    return found / total


def test_finds_objects_of_scenes_it_has_not_seen(detector):
    assert recall(detector, 6) > 0.4


def test_is_small(detector):
    assert sum(file.stat().st_size for file in builtin_head("detector").iterdir()) < 1_400_000
    assert {file.name for file in builtin_head("detector").iterdir()} == {
        "config.yaml",
        "head.safetensors",
        "training.json",
    }
