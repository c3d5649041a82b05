"""What changes from step to step beside the weights, and the way of all of it into a checkpoint and back."""

import hashlib
from collections.abc import Mapping

from torch import Tensor

from minorkey.adapters.attached import OTHER
from minorkey.errors import AdapterError
from minorkey.models.build import head_state
from minorkey.regimes.base import Regime
from minorkey.system.storage import flush_file
from minorkey.system.tensors import check_tensors
from minorkey.training.checkpoint import Checkpoint, load_optimizer_state, optimizer_state
from minorkey.training.fit import Fit
from minorkey.training.loss_scale import LossScale
from minorkey.training.sharding import laid_out_as, overwrite, whole
from minorkey.training.weights import BestWeights, WeightEma


class State:
    """How far a training is, the averages it keeps and the best weights so far.

    Args:
        fit: the training; its network, optimizer and regime go on from the checkpoint too.
        checkpoint: where it goes on from. The adapter's tensors were restored when it was attached.
    """

    def __init__(self, fit: Fit, checkpoint: Checkpoint | None = None) -> None:
        self.fit = fit
        self.step = self.saved = 0  # steps done, and done when the last checkpoint was written
        self.seconds = 0.0  # of training
        self.peak_memory_mb = 0.0  # of training
        self.scale = LossScale(fit.accelerator.scaler)
        self.ema = WeightEma(fit.options.average_momentum)
        self.best = BestWeights()
        self.judged = 0  # step of the last scores that weights are chosen by
        if checkpoint is not None:
            self._restore(checkpoint)

    @property
    def stopped(self) -> bool:
        """Whether patience is at its end: so many judgements since the best one."""
        patience, every = self.fit.options.patience, self.fit.options.judge_every
        return patience is not None and (self.judged - self.best.step) // every >= patience

    @property
    def last(self) -> bool:
        """Whether no further step is taken: all are done, or patience is at its end."""
        return self.stopped or self.step == self.fit.options.steps

    def due(self, every: int) -> bool:
        """Whether something is to be done now that is done every so many steps, and after the last one."""
        return self.last or self.step % every == 0

    def average_weights(self) -> None:
        """Take the weights of now into their average, where one is kept by now."""
        begins = self.fit.options.weight_ema_from
        if begins is not None and self.step >= begins:
            self.ema.update(self.fit.trained)

    def deploy(self) -> None:
        """Give the network the weights that the training deploys."""
        overwrite(self.fit.trained, self._chosen())

    def _chosen(self) -> dict[str, Tensor]:
        """What is deployed in place of the last values, by name in a checkpoint."""
        deployed, teacher = self.fit.deployed, self.fit.regime.teacher
        if deployed == "teacher" and teacher is not None:
            return teacher.trained_tensors()
        return {"ema": whole(self.ema.average), "last": {}}.get(deployed, self.best.tensors)

    def checkpoint(self) -> Checkpoint:
        """All that a run needs to go on from here. All processes call this at one time."""
        fit = self.fit
        log = fit.folder.log.read_bytes() if fit.folder.log.is_file() else b""
        if log:
            flush_file(fit.folder.log)  # the checkpoint answers for it
        return Checkpoint(
            step=self.step,
            seconds=self.seconds,
            peak_memory_mb=self.peak_memory_mb,
            base_sha256=fit.base_sha256,
            adapter=whole(fit.attached.state_dict()),
            head=whole(head_state(fit.network)),
            optimizer=whole(optimizer_state(fit.optimizer)),
            ema=whole(self.ema.average),
            best=self._chosen() if fit.deployed == "teacher" and self.last else self.best.tensors,
            best_step=self.best.step,
            best_score=self.best.score,
            regime=fit.regime.state_dict(),
            loss_scale=self.scale.state_dict(),
            config=fit.config,
            log_size=len(log),
            log_sha256=hashlib.sha256(log).hexdigest() if log else "",
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        fit = self.fit
        self.step, self.seconds, self.saved = checkpoint.step, checkpoint.seconds, checkpoint.step
        self.peak_memory_mb = checkpoint.peak_memory_mb
        for name, tensors in {"head": checkpoint.head, "ema": checkpoint.ema, "best": checkpoint.best}.items():
            expected = head_state(fit.network) if name == "head" else fit.trained
            if tensors or name == "head":  # the others may not have begun
                check_tensors(tensors, expected, f"{name} of the checkpoint", OTHER)
        overwrite(head_state(fit.network), checkpoint.head)
        load_optimizer_state(fit.optimizer, checkpoint.optimizer)
        self.ema.average = {name: laid_out_as(value, fit.trained[name]) for name, value in checkpoint.ema.items()}
        self.best = BestWeights(checkpoint.best_score, checkpoint.best_step, checkpoint.best)
        self.judged = self.step - self.step % fit.options.judge_every
        _load_regime(fit.regime, checkpoint.regime)
        self.scale.load_state_dict(checkpoint.loss_scale)


def _load_regime(regime: Regime, state: Mapping[str, Tensor]) -> None:
    """Hand a regime its state, whose parts, a user's own among them, each have an error of their own.

    Raises:
        AdapterError: it does not fit.
    """
    try:
        regime.load_state_dict(state)
    except (ValueError, LookupError, RuntimeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise AdapterError(f"the regime's state in the checkpoint does not fit: {reason}; {OTHER}") from error
