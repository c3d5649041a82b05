"""Done by processes that torchrun started: a list of jobs, one after the other, in the order given."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from minorkey.config import load_config
from minorkey.labels import label_space
from minorkey.models.batch_norm import globalise
from minorkey.runs.api import write_submission
from minorkey.runs.assemble import build_network
from minorkey.runs.evaluate import evaluate as evaluate_run
from minorkey.runs.predict import predict_folder
from minorkey.runs.train import train as train_run
from minorkey.system import processes
from minorkey.system.processes import process_count, process_index
from minorkey.system.storage import write_json, write_tensors
from minorkey.training.loop import Loop
from minorkey.training.sharding import shard
from minorkey.training.state import State


def train(config: str, out: str, resume: bool = False) -> None:
    train_run(load_config(Path(config)), Path(out), resume=resume)


def evaluate(run: str, out: str) -> None:
    evaluate_run(run, out=Path(out))


def predict(run: str, images: str, out: str) -> None:
    done = predict_folder(Path(run), images, Path(out))
    write_json(Path(out) / f"done-{process_index()}.json", vars(done))


def submit(run: str, out: str, data: str) -> None:
    done = write_submission(run, "cityscapes", out=out, unseen="cityscapes:test", data_root=data)
    write_json(Path(f"{out}-{process_index()}.json"), done[0])


def batch_norm(batch: list, out: str) -> None:
    """One training step of a batch norm on this process's part of a batch."""
    PartialState(cpu=True)
    norm = nn.BatchNorm2d(len(batch[0]))
    globalise(norm)
    values = torch.tensor(batch).chunk(process_count())[process_index()].requires_grad_()
    output = norm(values)
    output.square().mul(values.detach()).sum().backward()
    results = {"output": output, "gradient": values.grad, "weight.grad": norm.weight.grad, **dict(norm.named_buffers())}
    write_tensors(Path(out) / f"norm-{process_index()}.safetensors", results)


def mixed_shards(config: str, out: str) -> None:
    """Types of what a sharded network sends, computes and trains in, as in a training in bf16."""
    PartialState(cpu=True)
    options = load_config(Path(config))
    network = build_network(options, label_space(options.label_space))
    model, sent = network.model, set()
    shard(model, torch.device("cpu"), param_dtype=torch.bfloat16)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda layer, _: sent.add(layer.weight.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(pixel_values=torch.randn(2, 3, 64, 64))
    output.logits.square().mean().backward()
    gradients = {p.grad.dtype for p in model.parameters() if p.grad is not None}
    kinds = {"sent": sent, "trained": {p.dtype for p in model.parameters()}, "gradients": gradients}
    write_json(Path(out) / f"types-{process_index()}.json", {k: sorted(map(str, v)) for k, v in kinds.items()})


def adapt(config: str, out: str) -> None:
    """Train, and keep what this process has in the end, and what the processes exchanged in every step."""
    deploy, step, taken = State.deploy, Loop._train_step, []

    def keep_and_deploy(state: State) -> None:
        fit = state.fit
        kept = {f"student.{name}": value.clone() for name, value in fit.network.state_dict().items()}
        write_tensors(Path(f"{out}-{process_index()}.safetensors"), kept | fit.regime.state_dict())
        write_json(Path(f"{out}-{process_index()}.json"), [dict(counts) for counts in taken])
        deploy(state)

    def counted_step(loop: Loop, drawn: Any) -> None:
        if loop.state.step == 0:
            loop.fit.model.register_comm_hook(None, reduce)
        taken.append(Counter(words=counter["words"]))
        step(loop, drawn)
        counter["words"] = 0

    def counted_words(values: Any) -> Any:
        counter["words"] += 1
        return gathered(values)

    def reduce(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        taken[-1]["reductions"] += bucket.is_last()
        return allreduce_hook(None, bucket)

    gathered, counter = processes.gathered, Counter()
    with (
        patch.object(State, "deploy", keep_and_deploy),
        patch.object(Loop, "_train_step", counted_step),
        patch.object(processes, "gathered", counted_words),
    ):
        train_run(load_config(Path(config)), Path(out))


JOBS = {job.__name__: job for job in (train, evaluate, predict, submit, batch_norm, mixed_shards, adapt)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for job in json.loads(Path(sys.argv[1]).read_text()):
        JOBS[job.pop("do")](**job)
