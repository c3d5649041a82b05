"""What is logged where processes have not seen the same losses and signals."""

import multiprocessing

import pytest
import torch
import torch.distributed as dist

from minorkey.training.meter import Meter

FULL = {"vfl": 1.0, "encoder": 2.0, "denoising": 3.0, "atss": 4.0}
EMPTY = {"vfl": 1.0, "encoder": 2.0, "atss": 4.0}
"""Of a batch without objects."""


def _in_process(rank, rendezvous, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    meter = Meter(torch.device("cpu"))
    for step, losses in enumerate([[EMPTY, FULL], [EMPTY, EMPTY]][rank]):
        terms = {name: torch.tensor(value) for name, value in losses.items()}
        meter.add(step, terms, sum(terms.values()))
    meter.note([{"kept": torch.tensor([0.5, 0.25])}, {"agreement": torch.tensor(0.5)}][rank])
    results.put((meter.means(), meter.signal_means()))
    dist.destroy_process_group()


def test_what_one_process_lacks_is_zero_or_left_out_there(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    started = [context.Process(target=_in_process, args=(rank, tmp_path / "meet", results)) for rank in range(2)]
    for process in started:
        process.start()
    found = [results.get(timeout=120) for _ in started]
    for process in started:
        process.join()
    for means, signals in found:
        assert means == pytest.approx({"loss": 7.75, "vfl": 1.0, "encoder": 2.0, "denoising": 0.75, "atss": 4.0})
        assert signals == {"kept": [0.5, 0.25], "agreement": 0.5}
