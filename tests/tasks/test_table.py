"""What every task has to keep to, whichever there are."""

import numpy as np
import pytest
import torch

from minorkey.catalog import Catalog
from minorkey.config import resolve
from minorkey.data.sample import Sample, on_device
from minorkey.data.transforms import TransformConfig
from minorkey.errors import ConfigError
from minorkey.tasks.base import Task
from minorkey.tasks.counts import Counts
from minorkey.tasks.table import TASKS, task_named

EVERY = pytest.mark.parametrize("task", [task_named(name) for name in TASKS.shipped], ids=list(TASKS.shipped))
CROP = (32, 48)


@EVERY
def test_a_row_is_complete(task):
    assert isinstance(task, Task)
    assert isinstance(task.heads, Catalog)
    assert task.default_head in task.heads.shipped
    assert resolve(None, {"source": "world", "task": task.name}).head.name == task.default_head
    assert resolve(None, {"source": "world", "task": task.name}).metric == next(iter(task.metrics))
    assert TASKS.resolve(task.name) is type(task)


@EVERY
def test_width_of_a_head_is_set_and_its_name_is_the_tasks_own(task):
    head = resolve(None, {"source": "world", "task": task.name, "head": {"channels": 64}}).head
    assert (head.name, head.channels) == (task.default_head, 64)


@EVERY
def test_unlabelled_crops_become_a_batch_without_anything_to_learn(task):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    crop = task.crop(Sample(image, "d", "k"), TransformConfig(crop=CROP), np.random.default_rng(1))
    assert crop.image.shape[2] == 3
    assert all(side <= limit for side, limit in zip(crop.image.shape, CROP, strict=False))
    labels = task.collate([crop, crop], CROP)
    assert task.counts(torch.nn.Identity(), labels)[:2] == (0, 0)


@EVERY
def test_a_trial_has_a_label_in_each_image(task):
    batch = task.trial(CROP, "cpu")
    assert batch.pixel_values.shape == (2, 3, *CROP)
    assert batch.labels is not None
    assert batch.share == 1


def test_ids_are_sent_as_bytes_and_other_labels_as_they_are():
    ids, shares = torch.tensor([3, 255], dtype=torch.uint8), torch.tensor([[0.25, 0.75]])
    assert (on_device(ids, "cpu").dtype, on_device(ids, "cpu").tolist()) == (torch.int64, [3, 255])
    assert torch.equal(on_device(shares, "cpu"), shares)
    assert on_device(None, "cpu") is None


def test_a_loss_is_by_default_a_mean_over_images():
    assert Task.counts(task_named("segmentation"), torch.nn.Identity(), torch.zeros(5)) == Counts(5)


def test_an_unknown_task_is_refused_with_the_closest_name():
    with pytest.raises(ConfigError, match="task is 'detecton'; did you mean 'detection'"):
        resolve(None, {"source": "world", "task": "detecton"})
