"""The only training loop."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NoReturn

from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from minorkey.data.sample import RawBatch, RawPair
from minorkey.errors import TrainingError
from minorkey.models.build import backbone_of
from minorkey.models.heads.set_criterion import total
from minorkey.system.processes import from_main, process_count
from minorkey.system.progress import Reporter, memory_mb
from minorkey.system.run_folder import resuming
from minorkey.training.checkpoint import Checkpoint, save_checkpoint
from minorkey.training.divergence import check_losses, check_weights
from minorkey.training.drawn import Drawn, draw
from minorkey.training.fit import Fit
from minorkey.training.interruption import stop_on_interrupt
from minorkey.training.log import append, trim_log
from minorkey.training.meter import Meter
from minorkey.training.optim import schedule
from minorkey.training.review import review
from minorkey.training.state import State
from minorkey.training.step import Pass, take_step


class Interrupted(TrainingError):
    """The user stopped the run; a checkpoint was saved."""

    exit_code = 130


class Loop:
    """A training in progress.

    Args:
        fit: what is trained, on what, and where it is written.
        checkpoint: where it goes on from; None: from its first step.
    """

    def __init__(self, fit: Fit, checkpoint: Checkpoint | None = None) -> None:
        self.fit = fit
        self.state = State(fit, checkpoint)
        self.meter = Meter(fit.accelerator.device)

    def run(self, reporter: Reporter) -> None:
        """Train to the end, or as long as `training.patience` has it.

        Raises:
            Interrupted: Ctrl-C; a checkpoint was saved.
            TrainingError: the loss is no longer finite; the last good checkpoint is kept.
            StorageError: a checkpoint or the log cannot be written.
        """
        fit, state = self.fit, self.state
        self._go_on()
        _set_training_mode(fit)
        self.meter.restart()
        batches: Iterator[RawBatch | RawPair] = iter(fit.loader)
        count = partial(fit.regime.task.counts, fit.network)
        with stop_on_interrupt() as stop:
            while not state.last:
                drawn = draw(batches, fit.options.accumulate, count, stop)
                if drawn.stopped:
                    self._stop()
                self._train_step(drawn)
                if logged := state.due(fit.options.log_every):
                    self._log(reporter)
                self._review()
                if state.stopped and not logged:
                    self._log(reporter)
                if state.due(fit.options.checkpoint_every):
                    self._save()

    def _go_on(self) -> None:
        """Let the log end where the training is, and nothing be reported again that is in it."""
        from_main(lambda: trim_log(self.fit.folder.log, self.state.step))
        if self.fit.incidents is not None:
            self.fit.incidents.recall(self.fit.folder.log)

    def _train_step(self, drawn: Drawn) -> None:
        fit, state = self.fit, self.state
        schedule(fit.optimizer, state.step, fit.options, fit.anneal)
        for batch, made in zip(drawn.batches, take_step(fit, state, drawn), strict=True):
            self._note(batch, made)
        state.step += 1
        fit.regime.after_step(state.step)
        state.average_weights()

    def _note(self, batch: RawBatch | RawPair, made: Pass) -> None:
        """Meter what a step made of a batch."""
        for parts in made.losses:
            self.meter.add(self.state.step, parts, total(parts))
        self.meter.note(made.signals)
        labelled, target = (batch.source, batch.target) if isinstance(batch, RawPair) else (batch, None)
        self.meter.images += len(labelled.keys) * process_count()
        if target is not None and self.fit.incidents is not None:
            self.fit.incidents.note(target.problems)

    def _log(self, reporter: Reporter) -> None:
        fit, state, meter = self.fit, self.state, self.meter
        check_losses(fit, meter)
        state.seconds += meter.elapsed()
        memory = memory_mb(fit.accelerator.device)
        state.peak_memory_mb = max(state.peak_memory_mb, memory)
        line = {
            "step": state.step,
            **meter.means(),
            **(signals := meter.signal_means()),
            "lr": max(group["lr"] for group in fit.optimizer.param_groups if "initial_lr" in group),
            "images_per_second": round(meter.rate(), 2),
            "memory_mb": round(memory, 1),
            "seconds": round(state.seconds, 2),
            **state.scale.note(),
        }
        meter.restart()
        self._append(line)
        self._report(signals)
        detail = f"loss {line['loss']:.3f}  {line['images_per_second']:.1f} images/s  {memory:.0f} MB"
        reporter.update(state.step, detail)

    def _report(self, signals: dict[str, Any]) -> None:
        """Show and log what went wrong since the last time."""
        if self.fit.incidents is not None:
            for incident in self.fit.incidents.report(self.state.step, signals, self.fit.folder.checkpoints):
                self._append(incident)

    def _review(self) -> None:
        began = time.monotonic()
        for record in review(self.fit, self.state):
            self._append(record)
        self.meter.leave_out(time.monotonic() - began)

    def _append(self, record: dict[str, Any]) -> None:
        from_main(lambda: append(self.fit.folder.log, record))
        if self.fit.track is not None:
            self.fit.track(record)

    def _save(self) -> None:
        check_losses(self.fit, self.meter)
        check_weights(self.fit, self.state)
        self._report({})  # a run that goes on from here has forgotten what was noted since the last log line
        self.state.seconds += self.meter.elapsed()
        self.meter.restart_clock()
        checkpoint = self.state.checkpoint()
        from_main(lambda: save_checkpoint(self.fit.folder.checkpoints, checkpoint))
        self.state.saved = self.state.step

    def _stop(self) -> None:
        """Save what is not saved yet, and end."""
        if self.state.saved < self.state.step:
            self._save()
        from_main(self._interrupt)

    def _interrupt(self) -> NoReturn:
        step, folder = self.state.step, self.fit.folder
        done = f"after step {step} of {self.fit.options.steps} and saved" if step else "before the first step"
        raise Interrupted(f"stopped {done}; go on with {resuming(folder.run or folder.path)}")


def _set_training_mode(fit: Fit) -> None:
    """Training mode, except that a backbone that is not trained as a whole keeps its running statistics."""
    fit.network.train()
    if fit.attached.method.spec.trains == "everything":
        return
    for module in backbone_of(fit.network).modules():
        if isinstance(module, _BatchNorm) or (isinstance(module, _InstanceNorm) and module.track_running_stats):
            module.eval()
