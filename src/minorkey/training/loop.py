"""The only training loop."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from minorkey.adapters import Attached
from minorkey.data.loaders import TrainingLoader
from minorkey.data.pairs import PairLoader
from minorkey.data.sample import Batch, Pair, RawBatch, RawPair
from minorkey.errors import TrainingError
from minorkey.models.build import backbone_of, head_state
from minorkey.models.heads.set_criterion import total
from minorkey.regimes.base import Regime
from minorkey.system.precision import Precision, kernels
from minorkey.system.processes import from_main, process_count, process_index, together
from minorkey.system.progress import Reporter, memory_mb
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import storage_errors, write_text
from minorkey.tasks.protocol import Weights
from minorkey.training.checkpoint import (
    Checkpoint,
    load_optimizer_state,
    optimizer_state,
    save_checkpoint,
    trained_tensors,
)
from minorkey.training.drawn import Drawn, draw
from minorkey.training.incidents import Incidents
from minorkey.training.interruption import stop_on_interrupt
from minorkey.training.loss_scale import LossScale
from minorkey.training.meter import Meter
from minorkey.training.optim import schedule
from minorkey.training.options import TrainingOptions
from minorkey.training.sharding import laid_out_as, overwrite, put_together, whole
from minorkey.training.share import average_gradients, with_shares
from minorkey.training.snapshots import Snapshots, evaluating
from minorkey.training.weights import BestWeights, WeightEma


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
        deployed: which weights the network has in the end.
        precision: of its passes; what is half precision is up to `accelerator`.
        incidents: says what goes wrong with the target's images and labels.
        snapshots: keeps pictures of pseudo-labels; None where there are none.
        validate: mIoU of the network's weights of now, by domain; None: nothing is judged in between.
        watch: the same of a network, for the log alone.
    """

    model: nn.Module
    attached: Attached
    regime: Regime
    optimizer: Optimizer
    options: TrainingOptions
    anneal: bool
    accelerator: Accelerator
    loader: TrainingLoader | PairLoader
    folder: RunFolder
    base_sha256: str
    seed: int
    deployed: Weights = "last"
    precision: Precision = "fp32"
    incidents: Incidents | None = None
    snapshots: Snapshots | None = None
    validate: Callable[[], dict[str, float]] | None = None
    watch: Callable[[nn.Module], dict[str, float]] | None = None
    step: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0

    def __post_init__(self) -> None:
        self.network = self.accelerator.unwrap_model(self.model)
        self.scale = LossScale(self.accelerator.scaler)
        self.ema = WeightEma(self.options.average_momentum)
        self.best = BestWeights()
        self.meter = Meter(self.accelerator.device)
        # Once: to look these up takes longer than what is done with them in a step.
        self.trained = trained_tensors(self.attached, self.network)
        self.clipped = [p for p in self.network.parameters() if p.requires_grad]
        self.saved = 0

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; the adapter's tensors were restored when it was attached."""
        self.step, self.seconds, self.saved = checkpoint.step, checkpoint.seconds, checkpoint.step
        overwrite(head_state(self.network), checkpoint.head)
        load_optimizer_state(self.optimizer, checkpoint.optimizer)
        self.ema.average = {name: laid_out_as(value, self.trained[name]) for name, value in checkpoint.ema.items()}
        self.best = BestWeights(checkpoint.best_score, checkpoint.best_step, checkpoint.best)
        self.regime.load_state_dict(checkpoint.regime)
        self.scale.load_state_dict(checkpoint.loss_scale)

    def run(self, reporter: Reporter) -> None:
        """Train to the end.

        Raises:
            Interrupted: Ctrl-C; a checkpoint was saved.
            TrainingError: the loss is no longer finite; the last good checkpoint is kept.
            StorageError: a checkpoint or the log cannot be written.
        """
        self._set_training_mode()
        self.meter.restart()
        batches: Iterator[RawBatch | RawPair] = iter(self.loader)
        with stop_on_interrupt() as stop:
            while self.step < self.options.steps:
                drawn = draw(batches, self.options.accumulate, partial(self.regime.task.counts, self.network), stop)
                if drawn.stopped:
                    self._stop()
                self._train_step(drawn)
                last = self.step == self.options.steps
                if last or self.step % self.options.log_every == 0:
                    self._log(reporter)
                if self.snapshots is not None and (last or self.step % self.options.snapshot_every == 0):
                    self._picture(self.snapshots)
                if self.validate is not None and (last or self.step % self.options.judge_every == 0):
                    self._judge(self.validate)
                if self.watch is not None and (last or self.step % self.options.judge_every == 0):
                    self._watch(self.watch)
                if last or self.step % self.options.checkpoint_every == 0:
                    self._save()

    def deploy(self) -> None:
        """Give the network the weights that `deployed` names, once it has run."""
        overwrite(self.trained, self._chosen())

    def _chosen(self) -> dict[str, Tensor]:
        """What is deployed in place of the last values, by name in a checkpoint."""
        if self.deployed == "teacher" and self.regime.teacher is not None:
            return self.regime.teacher.trained_tensors()
        return {"ema": whole(self.ema.average), "last": {}}.get(self.deployed, self.best.tensors)

    def _train_step(self, drawn: Drawn) -> None:
        schedule(self.optimizer, self.step, self.options, self.anneal)
        before = self._statistics() if self.scale.enabled else []
        while not self._take(drawn):
            self._check_scale()
            self._put_back(before)
        self.step += 1
        self.regime.after_step(self.step)
        ema_from = self.options.weight_ema_from
        if ema_from is not None and self.step >= ema_from:
            self.ema.update(self.trained)

    def _statistics(self) -> list[dict[str, Tensor]]:
        """Copies of what forward passes move: of batch norms, the teacher's too, and of the balance of classes."""
        states = dict(self.network.named_buffers()), self.regime.state_dict()
        return [{name: value.clone() for name, value in state.items()} for state in states]

    def _put_back(self, statistics: list[dict[str, Tensor]]) -> None:
        buffers, state = statistics
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])
        self.regime.load_state_dict(state)

    def _take(self, drawn: Drawn) -> bool:
        """A step on these batches; False, and no weight moves, where a gradient overflowed: a smaller scale is due."""
        torch.manual_seed((self.seed * 1_000_003 + self.step) * 64 + process_index())
        self.optimizer.zero_grad()
        passes = []
        with kernels(self.precision, autotune=self.options.autotune):
            for place in range(len(drawn.batches)):
                losses = self._backward(self._moved(drawn, place), last=place == len(drawn.batches) - 1)
                passes.append((losses, self.regime.signals))
        average_gradients(self.regime.modules().values())
        if self.options.clip_norm is not None:
            self.scale.clip(self.optimizer, self.clipped, self.options.clip_norm)
        taken = self.scale.step(self.optimizer)
        if taken:
            for batch, (losses, signals) in zip(drawn.batches, passes, strict=True):
                self._note(batch, losses, signals)
        return taken

    def _moved(self, drawn: Drawn, place: int) -> Batch | Pair:
        """One of the batches on its device, with the share of its labelled part in the loss of the step."""
        moved = drawn.batches[place].to(self.accelerator.device)
        share = partial(
            with_shares, counts=drawn.counts[place], everyone=drawn.everyone, process=process_index(), place=place
        )
        return replace(moved, source=share(moved.source)) if isinstance(moved, Pair) else share(moved)

    def _losses(self, batch: Batch | Pair, *, last: bool) -> Iterator[dict[str, Tensor]]:
        """The regime's losses; the last pass of the last batch of a step is the one after which processes average."""
        groups = self.regime.losses(batch)
        for left in reversed(range(self.regime.passes)):
            # Left open while the loop goes backward: what is averaged is decided in both passes.
            with nullcontext() if last and not left else self.accelerator.no_sync(self.model):
                yield next(groups)
        yield from groups

    def _backward(self, batch: Batch | Pair, *, last: bool) -> list[dict[str, Tensor]]:
        """Add the gradients of a batch; what its losses were."""
        groups = []
        for losses in self._losses(batch, last=last):
            parts = {name: loss / self.options.accumulate for name, loss in losses.items()}
            self.scale.backward(total(parts))
            groups.append({name: part.detach() for name, part in parts.items()})
        return groups

    def _note(self, batch: RawBatch | RawPair, groups: list[dict[str, Tensor]], signals: dict[str, Tensor]) -> None:
        """Meter what a step made of a batch."""
        for parts in groups:
            self.meter.add(self.step, parts, total(parts))
        self.meter.note(signals)
        labelled, target = (batch.source, batch.target) if isinstance(batch, RawPair) else (batch, None)
        self.meter.images += len(labelled.keys) * process_count()
        if target is not None and self.incidents is not None:
            self.incidents.note(target.problems)

    def _log(self, reporter: Reporter) -> None:
        self._check_finite()
        self.seconds += self.meter.elapsed()
        memory = memory_mb(self.accelerator.device)
        self.peak_memory_mb = max(self.peak_memory_mb, memory)
        line = {
            "step": self.step,
            **self.meter.means(),
            **(signals := self.meter.signal_means()),
            "lr": max(group["lr"] for group in self.optimizer.param_groups if "initial_lr" in group),
            "images_per_second": round(self.meter.rate(), 2),
            "memory_mb": round(memory, 1),
            "seconds": round(self.seconds, 2),
            **self.scale.note(),
        }
        self.meter.restart()
        from_main(lambda: self._append(line))
        self._report(signals)
        detail = f"loss {line['loss']:.3f}  {line['images_per_second']:.1f} images/s  {memory:.0f} MB"
        reporter.update(self.step, detail)

    def _report(self, signals: dict[str, Any]) -> None:
        """Say and log what went wrong since the last time."""
        if self.incidents is not None:
            for incident in self.incidents.report(self.step, signals, self.folder.checkpoints):
                from_main(lambda incident=incident: self._append(incident))  # type: ignore[misc]

    def _stop(self) -> None:
        """Save what is not saved yet, and end."""
        if self.saved < self.step:
            self._save()
        from_main(self._interrupt)

    def _interrupt(self) -> NoReturn:
        done = f"after step {self.step} of {self.options.steps} and saved" if self.step else "before the first step"
        raise Interrupted(f"stopped {done}; go on with `minorkey train --resume {self.folder.run or self.folder.path}`")

    def _append(self, line: dict[str, Any]) -> None:
        log = self.folder.log
        with storage_errors(log), log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _judge(self, validate: Callable[[], dict[str, float]]) -> None:
        """Judge the weights of now and keep them if they are the best so far. Draws no random numbers."""
        began = time.monotonic()
        self.network.eval()
        with put_together(self.network):
            scores = validate()
        score = sum(scores.values()) / len(scores)
        best = self.best.offer(self.step, score, whole(self.trained))
        from_main(lambda: self._append({"step": self.step, "scores": scores, "best": best}))
        self._set_training_mode()
        self.meter.leave_out(time.monotonic() - began)

    def _watch(self, judged: Callable[[nn.Module], dict[str, float]]) -> None:
        """Log how student and teacher do by labels that nothing else sees. Draws no random numbers."""
        began = time.monotonic()
        with evaluating(self.network), put_together(self.network):
            watched = {"student": judged(self.network)}
        if self.regime.teacher is not None:
            with self.regime.teacher.installed() as network, evaluating(network):
                watched["teacher"] = judged(network)
        from_main(lambda: self._append({"step": self.step, "watched": watched}))
        self.meter.leave_out(time.monotonic() - began)

    def _picture(self, snapshots: Snapshots) -> None:
        """Keep pictures of the pseudo-labels of now. Draws no random numbers."""
        began = time.monotonic()
        teacher = self.regime.teacher
        assert teacher is not None, "only a regime with a teacher is pictured"
        from_main(lambda: snapshots.take(self.step, self.network, teacher))
        self.meter.leave_out(time.monotonic() - began)

    def _set_training_mode(self) -> None:
        """Training mode, except that a backbone that is not trained as a whole keeps its batch statistics."""
        self.network.train()
        if self.attached.method.spec.trains == "everything":
            return
        for module in backbone_of(self.network).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def _check_finite(self) -> None:
        bad = self.meter.first_bad_step()
        with together():
            if bad is not None:
                raise self._diverged("loss is not finite", bad)

    def _check_weights_finite(self) -> None:
        """A finite loss may still have given weights that are not, and they must not be saved."""
        tensors = whole(self.trained).values()
        with together():
            if not all(torch.isfinite(value).all() for value in tensors):
                raise self._diverged("weights are not finite", self.step - 1)

    def _check_scale(self) -> None:
        if not self.scale.exhausted:
            return
        advice = "Set training.precision to fp32, or to bf16 on a GPU that has it"
        with together():
            raise self._diverged("gradients overflow float16 at every scale", self.step, advice)

    def _diverged(
        self, what: str, step: int, advice: str = "Lower training.lr or set training.clip_norm"
    ) -> TrainingError:
        """The error for a 0-based step, with its batch."""
        first = step * self.options.accumulate
        keys = [key for micro in range(first, first + self.options.accumulate) for key in self.loader.keys(micro)]
        return TrainingError(
            f"the {what} at step {step + 1}, on the batch {', '.join(keys)}; the last good checkpoint "
            f"in '{self.folder.checkpoints}' is kept. {advice}"
        )

    def _save(self) -> None:
        self._check_finite()
        self._check_weights_finite()
        self._report({})  # a run that goes on from here has forgotten what was noted since the last log line
        self.seconds += self.meter.elapsed()
        self.meter.restart_clock()
        last = self.step == self.options.steps
        checkpoint = Checkpoint(
            step=self.step,
            seconds=self.seconds,
            base_sha256=self.base_sha256,
            adapter=whole(self.attached.state_dict()),
            head=whole(head_state(self.network)),
            optimizer=whole(optimizer_state(self.optimizer)),
            ema=whole(self.ema.average),
            best=self._chosen() if self.deployed == "teacher" and last else self.best.tensors,
            best_step=self.best.step,
            best_score=self.best.score,
            regime=self.regime.state_dict(),
            loss_scale=self.scale.state_dict(),
        )
        from_main(lambda: save_checkpoint(self.folder.checkpoints, checkpoint))
        self.saved = self.step


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
