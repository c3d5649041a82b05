"""Every row of the table keeps the contract; a new row is tested by existing."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minorkey.data.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from minorkey.world import render

each = pytest.mark.parametrize("name", CORRUPTIONS)

DIGESTS = """
import hashlib
import numpy as np
from minorkey.data.corruptions import CORRUPTIONS, Corruption
image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
for name in reversed(CORRUPTIONS):
    print(name, hashlib.sha256(Corruption(name, 3).apply(image, "a/b").tobytes()).hexdigest())
"""


def distance(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(image.astype(float) - other).mean())


@each
def test_shape_and_type_stay_and_the_image_is_left_alone(name: str, street: np.ndarray) -> None:
    before = street.copy()
    for severity in SEVERITIES:
        corrupted = Corruption(name, severity).apply(street, "key")
        assert corrupted.shape == street.shape
        assert corrupted.dtype == np.uint8
        assert corrupted.flags.writeable
    np.testing.assert_array_equal(street, before)


@each
def test_a_higher_severity_is_further_from_the_clean_image(name: str) -> None:
    scenes = [render(1, index, "clear", size=(160, 112)).image for index in range(3)]
    distances = [
        np.mean([distance(Corruption(name, severity).apply(scene, str(i)), scene) for i, scene in enumerate(scenes)])
        for severity in SEVERITIES
    ]
    assert distances[0] > 0.5, "grey levels"
    # fog of severity 4 is as dense as that of 3 and only rougher, in ImageNet-C too
    slack = 0.05 * distances[2] if name == "fog" else 0
    assert (np.diff(distances) > -slack).all(), distances
    assert distances[-1] > (1.05 if name == "fog" else 1.1) * distances[0]


@each
def test_same_key_same_result(name: str, street: np.ndarray) -> None:
    corruption = Corruption(name, 4)
    first = corruption.apply(street, "one")
    corruption.apply(street, "other")
    np.testing.assert_array_equal(corruption.apply(street, "one"), first)


RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog", "snow", "rain", "night", "glare")


@pytest.mark.parametrize("name", RANDOM)
def test_another_key_is_another_draw(name: str, street: np.ndarray) -> None:
    assert distance(Corruption(name).apply(street, "one"), Corruption(name).apply(street, "two")) > 0.1


def test_what_is_not_random_is_said_to_be(street: np.ndarray) -> None:
    for name in CORRUPTIONS.keys() - set(RANDOM):
        same = np.array_equal(Corruption(name).apply(street, "one"), Corruption(name).apply(street, "two"))
        assert same == ("Nothing is random" in (CORRUPTIONS[name].apply.__doc__ or ""))


def test_another_process_and_order_give_the_same_bytes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    here = {name: hashlib.sha256(Corruption(name, 3).apply(image, "a/b").tobytes()).hexdigest() for name in CORRUPTIONS}
    printed = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, check=True).stdout
    assert dict(line.split() for line in printed.splitlines()) == here


@each
@pytest.mark.parametrize("value", [0, 255])
def test_flat_images_are_no_trouble(name: str, value: int) -> None:
    with np.errstate(all="raise", under="ignore"):
        corrupted = Corruption(name, 5).apply(np.full((33, 47, 3), value, np.uint8), "flat")
    assert corrupted.shape == (33, 47, 3)


@each
def test_any_aspect(name: str, street: np.ndarray) -> None:
    for image in (street[:20], street[:, :24], np.ascontiguousarray(street[::-1, ::2])):
        assert Corruption(name, 5).apply(image, "key").shape == image.shape


def test_the_page_lists_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "corruptions.md").read_text(encoding="utf-8")
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and "@" not in line] == list(
        CORRUPTIONS
    )
