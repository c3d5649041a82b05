"""The only training loop."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from minorkey.adapters import Attached
from minorkey.data.loaders import TrainingLoader
from minorkey.data.sample import Batch
from minorkey.errors import TrainingError
from minorkey.models.build import head_state
from minorkey.regimes.supervised import Supervised
from minorkey.run_folder import RunFolder
from minorkey.storage import storage_errors, write_text
from minorkey.training.checkpoint import (
    Checkpoint,
    load_optimizer_state,
    optimizer_state,
    save_checkpoint,
    trained_tensors,
)
from minorkey.training.interruption import stop_on_interrupt
from minorkey.training.meter import Meter
from minorkey.training.optim import schedule
from minorkey.training.options import TrainingOptions
from minorkey.training.progress import Reporter, memory_mb
from minorkey.training.weight_ema import WeightEma


class Interrupted(TrainingError):
    """The user stopped the run; a checkpoint was saved."""

    exit_code = 130


@dataclass
class Fit:
    """A training in progress: everything that changes from step to step, and where it is written.

    Args:
        model: the network, prepared by `accelerator`.
        attached: its adapter.
        regime: which losses.
        optimizer: over `optim.param_groups`.
        options: schedules and intervals.
        anneal: whether weight decay anneals.
        accelerator: device, precision, processes.
        loader: the batches from `step * options.accumulate` on.
        folder: the run folder.
        base_sha256: fingerprint of the pretrained backbone.
        seed: of dropout.
    """

    model: nn.Module
    attached: Attached
    regime: Supervised
    optimizer: Optimizer
    options: TrainingOptions
    anneal: bool
    accelerator: Accelerator
    loader: TrainingLoader
    folder: RunFolder
    base_sha256: str
    seed: int
    step: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0

    def __post_init__(self) -> None:
        self.network = self.accelerator.unwrap_model(self.model)
        self.stepper = self.accelerator.prepare_optimizer(self.optimizer)
        self.ema = WeightEma(self.options.weight_ema_momentum)
        self.meter = Meter(self.accelerator.device)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; the adapter's tensors were restored when it was attached."""
        self.step, self.seconds = checkpoint.step, checkpoint.seconds
        self.network.load_state_dict(checkpoint.head, strict=False)
        load_optimizer_state(self.optimizer, checkpoint.optimizer)
        device = self.accelerator.device
        self.ema.average = {name: value.to(device) for name, value in checkpoint.ema.items()}
        self.regime.load_state_dict(checkpoint.regime)

    def run(self, reporter: Reporter) -> None:
        """Train to the end.

        Raises:
            Interrupted: Ctrl-C; a checkpoint was saved.
            TrainingError: the loss is no longer finite; the last good checkpoint is kept.
            StorageError: a checkpoint or the log cannot be written.
        """
        _set_training_mode(self.network, everything=self.attached.method.spec.trains == "everything")
        self.meter.restart()
        batches = iter(self.loader)
        with stop_on_interrupt() as stop:
            while self.step < self.options.steps:
                self._train_step(batches)
                last = self.step == self.options.steps
                if last or self.step % self.options.log_every == 0:
                    self._log(reporter)
                if last or stop or self.step % self.options.checkpoint_every == 0:
                    self._save()
                if stop and not last:
                    raise Interrupted(
                        f"stopped after step {self.step} of {self.options.steps} and saved; "
                        f"go on with `minorkey train --resume {self.folder.path}`"
                    )

    def _train_step(self, batches: Any) -> None:
        schedule(self.optimizer, self.step, self.options, self.anneal)
        torch.manual_seed((self.seed * 1_000_003 + self.step) * 64 + self.accelerator.process_index)
        self.stepper.zero_grad()
        for part in range(self.options.accumulate):
            batch = next(batches).to(self.accelerator.device)
            last = part == self.options.accumulate - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                self._backward(batch)
        if self.options.clip_norm is not None:
            self.accelerator.clip_grad_norm_(
                [p for group in self.optimizer.param_groups for p in group["params"]], self.options.clip_norm
            )
        self.stepper.step()
        self.step += 1
        self.regime.after_step(self.step)
        ema_from = self.options.weight_ema_from
        if ema_from is not None and self.step >= ema_from:
            self.ema.update(trained_tensors(self.attached, self.network))

    def _backward(self, batch: Batch) -> None:
        for losses in self.regime.losses(batch):
            total = torch.stack(list(losses.values())).sum()
            self.accelerator.backward(total / self.options.accumulate)
            self.meter.add(self.step, losses, total, share=1 / self.options.accumulate)
        self.meter.images += len(batch.keys) * self.accelerator.num_processes

    def _log(self, reporter: Reporter) -> None:
        self._check_finite()
        self.seconds += self.meter.elapsed()
        memory = memory_mb(self.accelerator.device)
        self.peak_memory_mb = max(self.peak_memory_mb, memory)
        line = {
            "step": self.step,
            **self.meter.means(),
            "lr": max(group["lr"] for group in self.optimizer.param_groups),
            "images_per_second": round(self.meter.rate(), 2),
            "memory_mb": round(memory, 1),
            "seconds": round(self.seconds, 2),
        }
        self.meter.restart()
        if self.accelerator.is_main_process:
            log = self.folder.log
            with storage_errors(log), log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        detail = f"loss {line['loss']:.3f}  {line['images_per_second']:.1f} images/s  {memory:.0f} MB"
        reporter.update(self.step, detail)

    def _check_finite(self) -> None:
        bad = self.meter.first_bad_step()
        if bad is not None:
            raise self._diverged("loss is not finite", bad)

    def _check_weights_finite(self) -> None:
        """A finite loss may still have given weights that are not, and they must not be saved."""
        tensors = trained_tensors(self.attached, self.network).values()
        if not all(torch.isfinite(value).all() for value in tensors):
            raise self._diverged("weights are not finite", self.step - 1)

    def _diverged(self, what: str, step: int) -> TrainingError:
        """The error for a 0-based step, with its batch."""
        dataset = self.loader.dataset
        first = step * self.options.accumulate
        keys = [
            f"{dataset.readers[source].domain}/{dataset.readers[source].key(index)}"  # type: ignore[attr-defined]
            for micro in range(first, first + self.options.accumulate)
            for source, index in dataset.plan.indices(micro)  # type: ignore[attr-defined]
        ]
        return TrainingError(
            f"the {what} at step {step + 1}, on the batch {', '.join(keys)}; the last good checkpoint "
            f"in '{self.folder.checkpoints}' is kept. Lower training.lr or set training.clip_norm"
        )

    def _save(self) -> None:
        self._check_finite()
        self._check_weights_finite()
        self.seconds += self.meter.elapsed()
        self.meter.restart_clock()
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            checkpoint = Checkpoint(
                step=self.step,
                seconds=self.seconds,
                base_sha256=self.base_sha256,
                adapter=self.attached.state_dict(),
                head=head_state(self.network),
                optimizer=optimizer_state(self.optimizer),
                ema=self.ema.average,
                regime=self.regime.state_dict(),
            )
            save_checkpoint(self.folder.checkpoints, checkpoint)


def _set_training_mode(network: nn.Module, everything: bool) -> None:
    """Training mode, except that a backbone that is not trained as a whole keeps its batch statistics."""
    network.train()
    if everything:
        return
    for module in network.get_submodule("backbone").modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def trim_log(log: Path, step: int) -> None:
    """Drop the log lines after `step`, and a torn last line, before a run goes on from there.

    Raises:
        StorageError: the log cannot be written.
    """
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["step"] <= step:
            kept.append(line + "\n")
    write_text(log, "".join(kept))
