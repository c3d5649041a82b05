import os

import pytest
import torch

from minorkey.data import workers
from minorkey.data.workers import MOST, worker_count

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_number_is_taken_as_it_is():
    assert worker_count(3, CPU, batches=1) == worker_count(3, GPU, batches=100, loaders=2) == 3


def test_auto_is_none_on_a_cpu():
    assert worker_count("auto", CPU, batches=100) == 0


@pytest.mark.parametrize(
    ("cores", "processes", "batches", "loaders", "expected"),
    [(16, 1, 900, 1, 15), (16, 1, 900, 2, 7), (128, 8, 900, 1, 15), (128, 1, 900, 1, MOST), (2, 1, 900, 1, 1),
     (1, 1, 900, 1, 0), (8, 8, 900, 1, 0), (16, 1, 3, 1, 3), (16, 1, 0, 1, 0)],
)  # fmt: skip
def test_auto_beside_a_gpu(monkeypatch, cores, processes, batches, loaders, expected):
    monkeypatch.setattr(workers, "cores", lambda: cores)
    monkeypatch.setitem(os.environ, "LOCAL_WORLD_SIZE", str(processes))
    assert worker_count("auto", GPU, batches, loaders) == expected


def test_cores_are_those_this_process_may_use():
    assert 1 <= workers.cores() <= (os.cpu_count() or 1)
