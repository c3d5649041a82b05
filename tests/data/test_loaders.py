from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from minorkey.data.loaders import training_loader
from minorkey.data.photometric import Distortion
from minorkey.data.rare_classes import RareClasses
from minorkey.data.readers import open_datasets
from minorkey.data.sample import Batch, RawBatch, Sample
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError, DataError
from minorkey.labels import label_space
from minorkey.tasks.detection.task import Detection
from minorkey.tasks.segmentation.task import Segmentation


@dataclass
class NoiseReader:
    """Random images of different sizes."""

    domain: str
    count: int
    labelled: bool = True

    @property
    def name(self) -> str:
        return self.domain

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"{self.domain}-{index}"

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        height, width = 20 + index, 36 - index
        labels = rng.integers(0, 7, (height, width), dtype=np.uint8) if self.labelled else None
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Sample(image=image, domain=self.domain, key=self.key(index), labels=labels)


class ThreadReader(NoiseReader):
    """Says in its keys how many threads torch has where it is read."""

    def __getitem__(self, index: int) -> Sample:
        image = np.zeros((8, 8, 3), np.uint8)
        return Sample(image=image, domain="threads", key=str(torch.get_num_threads()))


@dataclass
class BoxReader(NoiseReader):
    """As many boxes as the index says, the first of them a crowd; the class is the number of the box."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if not self.labelled:
            return sample
        boxes = np.array([[row, row, row + 10, row + 8] for row in range(index)], np.float32).reshape(-1, 4)
        return replace(sample, labels=None, boxes=boxes, box_classes=np.arange(index), crowd=np.arange(index) < 1)


READERS = (NoiseReader("a", 9), NoiseReader("b", 5))


def load(readers=READERS, steps=(0, 8), batch_size=4, config=None, **options) -> list[Batch]:
    return [batch.to("cpu") for batch in load_raw(readers, steps, batch_size, config, **options)]


def load_raw(readers=READERS, steps=(0, 8), batch_size=4, config=None, task=None, **options) -> list[RawBatch]:
    loader = training_loader(
        task or Segmentation(),
        readers,
        config or TransformConfig(crop=(16, 24)),
        batch_size=batch_size,
        steps_from=steps[0],
        steps_to=steps[1],
        seed=5,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        **options,
    )
    batches = list(loader)
    assert len(batches) == len(loader) == steps[1] - steps[0]
    return batches


def same(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.pixel_values, other.pixel_values)
        and torch.equal(one.labels, other.labels)
        and (one.keys, one.domains) == (other.keys, other.domains)
    )


def test_shapes_and_types():
    (batch,) = load(steps=(0, 1))
    assert batch.pixel_values.shape == (4, 3, 16, 24)
    assert batch.pixel_values.dtype == torch.float32
    assert -1 <= batch.pixel_values.min() < batch.pixel_values.max() <= 1
    assert batch.labels.shape == (4, 16, 24)
    assert batch.labels.dtype == torch.int64
    assert set(batch.labels.unique().tolist()) <= {*range(7), 255}
    assert [key.split("-")[0] for key in batch.keys] == batch.domains


def test_a_step_is_the_same_wherever_training_starts_and_whoever_reads():
    reference = load()
    assert not same(reference[6], reference[7])
    for workers in (0, 2):
        late = load(steps=(6, 8), workers=workers)
        assert same(late[0], reference[6])
        assert same(late[1], reference[7])


def test_batches_that_make_one_update_are_augmented_as_one_batch():
    whole = load(steps=(2, 4))
    for size in (1, 2):
        parts = load(steps=(8 // size, 16 // size), batch_size=size, accumulate=4 // size)
        pixels = torch.cat([part.pixel_values for part in parts])
        assert torch.equal(pixels, torch.cat([batch.pixel_values for batch in whole]))
        assert [key for part in parts for key in part.keys] == [key for batch in whole for key in batch.keys]


def test_processes_share_a_step():
    (whole,) = load(steps=(3, 4))
    parts = [load(steps=(3, 4), process_index=index, process_count=2)[0] for index in range(2)]
    assert torch.equal(torch.cat([part.pixel_values for part in parts]), whole.pixel_values)
    assert [key for part in parts for key in part.keys] == whole.keys


def test_bytes_are_what_is_moved():
    (batch,) = load_raw(steps=(0, 1))
    assert (batch.images.dtype, batch.labels.dtype) == (torch.uint8, torch.uint8)
    assert batch.images.shape == (4, 16, 24, 3)
    assert batch.distortions.shape == (4, len(Distortion()))


def test_normalised_and_padded_with_the_mean():
    """Small images fill the top left; the rest is 0 whatever is done to the colours."""
    config = TransformConfig(crop=(60, 60), scale_ratios=(1 / 3,))
    (raw,) = load_raw(steps=(0, 1), config=config)
    batch = raw.to("cpu")
    for image, labels, (height, width) in zip(batch.pixel_values, batch.labels, raw.sizes.tolist(), strict=True):
        assert 20 == min(height, width) < 60
        assert (image[:, height:] == 0).all()
        assert (image[:, :, width:] == 0).all()
        assert (image[:, :height, :width] != 0).float().mean() > 0.9
        assert (labels[height:] == 255).all()
        assert (labels[:, width:] == 255).all()
        assert (labels[:height, :width] < 255).all()


def test_without_distortion_the_pixels_are_those_of_the_files():
    config = TransformConfig(crop=(20, 36), scale_ratios=(1.0,), flip=0, photometric=False)
    reader = NoiseReader("a", 1)
    (raw,) = load_raw([reader], steps=(0, 1), config=config)
    assert raw.distortions is None
    for image in raw.to("cpu").pixel_values:
        pixels = (image.permute(1, 2, 0) * 0.5 + 0.5) * 255
        np.testing.assert_allclose(pixels, reader[0].image, atol=1e-3)


def test_the_same_sample_is_augmented_anew():
    batches = load(readers=[NoiseReader("a", 1)], steps=(0, 1))
    assert not torch.equal(batches[0].pixel_values[0], batches[0].pixel_values[1])


def test_missing_labels_are_ignored_pixels():
    (batch,) = load(readers=[NoiseReader("a", 3, labelled=False)], steps=(0, 1))
    assert (batch.labels == 255).all()


def test_workers_run_one_thread():
    assert {key for batch in load(readers=[ThreadReader("t", 4)], workers=1) for key in batch.keys} == {"1"}


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_file_is_one_line_from_any_worker(write_dataset, workers):
    root = write_dataset(keys=("a",))
    file = root / "images" / "train" / "a.png"
    file.write_bytes(file.read_bytes()[:150])
    reader = open_datasets(str(root), role="source", label_space=label_space("street7"))[0]
    with pytest.raises(DataError) as direct:
        reader[0]
    with pytest.raises(DataError) as loaded:
        load(readers=[reader], workers=workers)
    assert str(loaded.value) == str(direct.value)
    assert "a.png: broken image" in str(loaded.value)


@pytest.mark.parametrize(("batch_size", "process_count"), [(4, 3), (0, 1)])
def test_batch_that_cannot_be_split(batch_size, process_count):
    with pytest.raises(ConfigError, match=f"batch size {batch_size} cannot be split over {process_count} processes"):
        load(batch_size=batch_size, process_count=process_count)


UNSCALED = TransformConfig(crop=(40, 40), scale_jitter=(1.0, 1.0), flip=0)


def test_boxes_of_a_batch_are_lists_of_their_images():
    (batch,) = load(readers=[BoxReader("a", 6)], steps=(0, 1), batch_size=6, config=UNSCALED, task=Detection())
    for key, boxes, classes in zip(batch.keys, batch.labels.boxes, batch.labels.classes, strict=True):
        index = int(key.split("-")[1])
        assert classes.tolist() == list(range(1, index))  # the crowd is not among them
        scale = min(40 / (20 + index), 40 / (36 - index))
        expected = scale * torch.tensor([[row, row, row + 10, row + 8] for row in range(1, index)]).reshape(-1, 4)
        torch.testing.assert_close(boxes, expected.float(), rtol=0.02, atol=0.02)  # sizes are whole pixels
        assert (boxes.dtype, classes.dtype) == (torch.float32, torch.int64)


def test_boxes_do_not_depend_on_who_reads_and_not_on_colours():
    jitter = {"crop": (24, 24), "scale_jitter": (0.5, 2.0)}
    reader = [BoxReader("a", 9)]
    reference = load(reader, config=TransformConfig(**jitter), task=Detection())
    plain = load(reader, config=TransformConfig(**jitter, photometric=False), task=Detection())
    late = load(reader, config=TransformConfig(**jitter), steps=(6, 8), workers=2, task=Detection())
    assert not torch.equal(plain[0].pixel_values, reference[0].pixel_values)
    assert sum(len(boxes) for batch in reference for boxes in batch.labels.boxes) > 30
    for batch, other in zip(late + plain, reference[6:] + reference, strict=True):
        ours, theirs = (each.labels.boxes + each.labels.classes for each in (batch, other))
        for one, same_one in zip(ours, theirs, strict=True):
            assert torch.equal(one, same_one)


def test_a_batch_without_labels_has_no_boxes():
    reader = BoxReader("a", 3, labelled=False)
    (batch,) = load([reader], steps=(0, 1), config=UNSCALED, task=Detection())
    assert batch.labels is None


def test_segmentation_has_no_boxes():
    (batch,) = load(readers=[BoxReader("a", 3)], steps=(0, 1))
    assert (batch.labels.shape, batch.labels.dtype) == ((4, 16, 24), torch.int64)


def test_rare_classes_are_not_drawn_for_boxes():
    rare = RareClasses((np.ones((9, 2), np.int64),))
    with pytest.raises(ConfigError, match="rare-class sampling counts labelled pixels, which detection has none of"):
        load([BoxReader("a", 9)], task=Detection(), rare=rare)
