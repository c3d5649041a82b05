"""One round of TransDA (arXiv 2203.07988): adversarial adaptation, and training on pseudo-labels of the round before.

The source features of the student are pushed towards the teacher's target features (`discrepancy.py` has the losses
and their dynamic weights); the student learns the pseudo-labels that the batch carries. Who teaches is one switch; with
`self` in place of the momentum network, as Filatov and Kindulov (2023) propose for low-rank adapters, the student's own
pass over the target images also serves as the teacher's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from minorkey.data.sample import Batch, Pair
from minorkey.models.features import FeatureTap
from minorkey.regimes.base import named, total
from minorkey.regimes.options import TransdaOptions
from minorkey.regimes.pseudo_labels import pseudo_labels
from minorkey.regimes.signals import health_signals
from minorkey.regimes.taught import Taught, named_group
from minorkey.regimes.teachers import Teacher
from minorkey.regimes.transda.discrepancy import (
    adversarial_loss,
    counting,
    discriminator_loss,
    log_probabilities,
    shown_at,
    soft_labels,
    source_weights,
    target_weights,
)
from minorkey.regimes.transda.discriminator import Discriminator, frozen_call
from minorkey.tasks.segmentation.task import Segmentation


@dataclass(frozen=True)
class Seen:
    """What a network makes of a batch, in float32."""

    features: Tensor  # (B, C, h, w), with the graph of the pass if it has one
    probabilities: Tensor  # (B, K, H, W), without
    shown: Tensor  # (B, h, w) bool, false where there is no image

    @classmethod
    def of(cls, features: Tensor, probabilities: Tensor, batch: Batch) -> Self:
        """What comes out of a batch of a `Pair`."""
        assert batch.filled is not None
        return cls(features.float(), probabilities, shown_at(batch.filled, features))


class Transda(Taught):
    """The regime of one round.

    Args:
        task: says what the losses are.
        model: what trains.
        teacher: gives the target features, and writes the next round's pseudo-labels.
        options: which variant.
        classes: K.
        steps: length of the round.
        labelled: whether the target batches carry pseudo-labels; not in the warm-up round.
    """

    task: Segmentation

    def __init__(
        self,
        task: Segmentation,
        model: nn.Module,
        teacher: Teacher,
        options: TransdaOptions,
        classes: int,
        steps: int,
        labelled: bool,
    ) -> None:
        super().__init__(task, model, teacher, classes, steps)
        self.options, self.labelled = options, labelled
        channels = FeatureTap(model).channels
        self.discriminator = Discriminator(channels, 2 * classes if options.class_wise else 1)
        self.weighting = Discriminator(channels)

    @property
    def passes(self) -> int:
        """Over the target, where it has pseudo-labels, and over the source; the discriminators see features alone."""
        return 1 + self.labelled

    def losses(self, batch: Pair) -> Iterator[dict[str, Tensor]]:
        """Yield `target` (with pseudo-labels), then `source` with `adversarial`, then those of the discriminators."""
        if self.labelled and self.teacher.is_student:
            with self.teacher.noting(), FeatureTap(self.model) as tap:
                terms, read = self.task.loss_and_reading(self.model, batch.target)
            taught = Seen.of(tap.features.detach(), read(), batch.target)
            said = taught.probabilities
            yield {"target": total(terms)}
        else:
            taught = self._teach(batch.target)
            said = taught.probabilities
            if self.labelled:
                terms, read = self.task.loss_and_reading(self.model, batch.target)
                said = read()
                yield {"target": total(terms)}
        self._note(batch, taught.probabilities, said)
        with FeatureTap(self.model) as tap:
            terms, read = self.task.loss_and_reading(self.model, batch.source)
        learnt = Seen.of(tap.features, read(), batch.source)
        yield from self._pushed(learnt, taught, named("source", terms, batch.source))

    def _pushed(self, source: Seen, target: Seen, terms: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """The source's terms with the adversarial one, then the losses of both discriminators."""
        features = torch.cat([source.features.detach(), target.features])
        counts = [len(source.features), len(target.features)]
        domains = self.weighting(features).split(counts)
        weights = [
            self._weights(source_weights, source, domains[0]),
            self._weights(target_weights, target, domains[1]),
        ]
        labels = [self._labels(source), self._labels(target)]
        pushed = adversarial_loss(frozen_call(self.discriminator, source.features), weights[0], labels[0])
        yield terms | {"adversarial": self.options.adversarial * pushed}
        told = self.discriminator(features).split(counts)
        yield {
            "discriminator": discriminator_loss(*told, *weights, *labels),
            "weighting": discriminator_loss(domains[0], domains[1], counting(source.shown), counting(target.shown)),
        }

    def modules(self) -> dict[str, nn.Module]:
        """The discriminator `D`, and the binary one `Dis` that the weights come from."""
        return {"discriminator": self.discriminator, "weighting": self.weighting}

    def param_groups(self) -> list[dict[str, Any]]:
        """Adam at a constant rate: AdamW without decay."""
        settings = {"lr": self.options.discriminator_lr, "betas": (0.9, 0.99)}
        return [named_group(name, module, **settings) for name, module in self.modules().items()]

    def _teach(self, target: Batch) -> Seen:
        with self.teacher.installed() as network, FeatureTap(network) as tap:
            probabilities = self.task.probabilities(network, target.pixel_values)
        return Seen.of(tap.features, probabilities, target)

    def _weights(self, weigh: Callable[[Tensor, Tensor, Tensor], Tensor], seen: Seen, domains: Tensor) -> Tensor:
        """The weights of the positions, `(B, h, w)`: dynamic by the logits of `Dis`, 0 where there is no image."""
        counted = counting(seen.shown)
        if not self.options.dynamic_weights:
            return counted
        return weigh(log_probabilities(seen.probabilities), domains, seen.shown) * counted

    def _labels(self, seen: Seen) -> Tensor | None:
        """Soft labels for the class-wise discriminator."""
        if not self.options.class_wise:
            return None
        return soft_labels(log_probabilities(seen.probabilities), seen.features)

    def _note(self, batch: Pair, taught: Tensor, said: Tensor) -> None:
        pseudo = pseudo_labels(taught, filled=batch.target.filled)
        self.signals = health_signals(pseudo, said.argmax(dim=1), batch.source.labels, self.classes)
