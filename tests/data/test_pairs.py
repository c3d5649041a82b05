from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minorkey.data.loaders import TrainingLoader, training_loader
from minorkey.data.pairs import TARGET_SEED, PairLoader
from minorkey.data.readers import Reader, open_datasets
from minorkey.data.sample import RawPair
from minorkey.data.transforms import TransformConfig
from minorkey.errors import DataError
from minorkey.labels import label_space
from minorkey.tasks.segmentation.task import Segmentation

SPACE = label_space("street7")
NAMES = tuple(f"{number:02d}" for number in range(24))


@pytest.fixture
def source(write_dataset) -> Reader:
    root = write_dataset("source", keys=NAMES, size=(24, 40))
    return open_datasets(str(root), role="source", label_space=SPACE)[0]


@pytest.fixture
def frames(tmp_path) -> Path:
    rng = np.random.default_rng(1)
    (tmp_path / "frames").mkdir()
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)).save(tmp_path / "frames" / f"{name}.png")
    return tmp_path / "frames"


def break_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.png").write_bytes(b"\x89PNG broken")


def target_of(frames: Path) -> Reader:
    return open_datasets(str(frames), role="target", label_space=SPACE)[0]


def loader(reader, steps, seed=5, **options) -> TrainingLoader:
    return training_loader(
        Segmentation(),
        [reader],
        TransformConfig(crop=(16, 16)),
        batch_size=2,
        steps_from=steps[0],
        steps_to=steps[1],
        seed=seed,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        **options,
    )


def pairs(source, frames, steps=(0, 6), workers=0, **options) -> PairLoader:
    target = loader(target_of(frames), steps, 5 + TARGET_SEED, workers=workers, **options)
    return PairLoader(loader(source, steps, workers=workers), target)


def same(one: RawPair, other: RawPair) -> bool:
    return all(
        a.keys == b.keys and a.problems == b.problems and torch.equal(a.images, b.images)
        for a, b in ((one.source, other.source), (one.target, other.target))
    )


def test_a_pair_is_a_batch_of_each_in_step(source, frames):
    loaded = list(pairs(source, frames))
    assert len(loaded) == len(pairs(source, frames)) == 6
    assert {pair.source.domains[0] for pair in loaded} == {"source"}
    assert {pair.target.domains[0] for pair in loaded} == {"frames"}
    assert all((pair.target.labels == 255).all() for pair in loaded)
    alone = list(loader(source, (0, 6)))
    assert all(torch.equal(pair.source.images, batch.images) for pair, batch in zip(loaded, alone, strict=True))


def test_order_and_crops_of_the_target_are_its_own(source, frames):
    for pair in pairs(source, frames):
        assert pair.source.keys != pair.target.keys
        assert not torch.equal(pair.source.distortions, pair.target.distortions)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pair_depends_on_seed_and_step_only(workers, source, frames):
    break_files(frames, "07", "08")
    reference = list(pairs(source, frames, skip_broken=True))
    late = list(pairs(source, frames, (4, 6), workers, skip_broken=True))
    assert [same(*both) for both in zip(late, reference[4:], strict=True)] == [True, True]


def test_keys_name_the_images_of_a_step(source, frames):
    loader = pairs(source, frames)
    expected = [
        [f"source/{key}" for key in pair.source.keys] + [f"frames/{key}" for key in pair.target.keys] for pair in loader
    ]
    assert [loader.keys(step) for step in range(6)] == expected


def test_keys_of_all_processes(source):
    parts = [loader(source, (3, 4), process_index=index, process_count=2) for index in range(2)]
    read = [f"source/{key}" for part in parts for batch in part for key in batch.keys]
    assert parts[0].keys(3) == parts[1].keys(3) == read


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_target_image_is_one_line(workers, source, frames):
    break_files(frames, *NAMES)
    with pytest.raises(DataError, match=r"^\S+\d\d\.png: broken image \([^\n]*\); replace or remove the file$"):
        list(pairs(source, frames, workers=workers))


def test_broken_images_are_skipped_when_asked_and_said(source, frames):
    clean = list(pairs(source, frames, (0, 12)))
    break_files(frames, "07", "08", "23")
    skipped = list(pairs(source, frames, (0, 12), skip_broken=True))
    replaced = {"07": "09", "08": "09", "23": "00"}  # the next; after the last, the first
    assert [key for pair in skipped for key in pair.target.keys] == [
        replaced.get(key, key) for pair in clean for key in pair.target.keys
    ]
    lines = [line for pair in skipped for line in pair.target.problems]
    assert len(lines) == 4  # two for 07
    assert all(line.startswith(f"{frames}/") and "\n" not in line for line in lines)
    assert sum(line.endswith("; '09' was read in its place") for line in lines) == 3
    whole = [index for index, pair in enumerate(clean) if not set(pair.target.keys) & replaced.keys()]
    assert whole
    assert all(same(clean[index], skipped[index]) for index in whole)


def test_too_many_broken_images(frames):
    break_files(frames, *NAMES)
    with pytest.raises(DataError, match=r"frames: 10 images in a row cannot be read; the first: .*broken image"):
        list(loader(target_of(frames), (0, 1), skip_broken=True))
