"""One round of TransDA (arXiv 2203.07988): adversarial adaptation, and training on pseudo-labels of the round before.

The source features of the student are pushed towards the teacher's target features (`discrepancy.py` has the losses
and their dynamic weights); the student learns the pseudo-labels that the batch carries. Who teaches is one switch; with
`self` in place of the momentum network, as Filatov and Kindulov (2023) propose for low-rank adapters, the student's own
pass over the target images also serves as the teacher's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from minorkey.data.sample import Batch, Pair
from minorkey.models.features import FeatureTap
from minorkey.models.heads.set_criterion import total
from minorkey.regimes.base import RegimeOptions, Setup, TeacherRegime, named_group
from minorkey.regimes.teachers import Teacher
from minorkey.regimes.transda.discrepancy import (
    adversarial_loss,
    at_pixels,
    counting,
    discriminator_loss,
    log_probabilities,
    shown_at,
    soft_labels,
    source_weights,
    target_weights,
)
from minorkey.regimes.transda.discriminator import Discriminator, frozen_call
from minorkey.system.bounds import MOST_RUNS
from minorkey.tasks.pseudo_labels import agreement, health_signals, pseudo_labels
from minorkey.tasks.table import TASKS, task_named

if TYPE_CHECKING:
    from minorkey.config import RunConfig


class TransdaOptions(RegimeOptions):
    """TransDA (arXiv 2203.07988): rounds of adversarial training with pseudo-labels written in between."""

    rounds: int = Field(3, ge=0, le=MOST_RUNS, description="rounds with pseudo-labels, after the warm-up round")
    warmup_steps: int | None = Field(None, gt=0, description="steps of the warm-up round; default: training.steps")
    adversarial: float = Field(0.001, ge=0, description="weight of the adversarial loss")
    class_wise: bool = Field(False, description="the discriminator tells classes apart as well (2 K channels)")
    dynamic_weights: bool = Field(True, description="weigh pixels by their discrepancy between the domains")
    resolution: Literal["features", "image"] = Field(
        "features",
        description="where the predictions of discriminators are weighted and judged: at the positions of the feature "
        "maps, or at the pixels of the image, to which the authors' code resizes them",
    )
    balance: Literal["confidence", "prior"] | None = Field(
        None,
        description="of the classes of the pseudo-labels that a round writes, as self_training.balance, but over all "
        "target images; an extension, which neither paper has",
    )
    discriminator_lr: float = Field(1e-4, gt=0, description="Adam, betas 0.9 and 0.99")


@dataclass(frozen=True)
class Output:
    """What comes out of a network for a batch, in float32."""

    features: Tensor  # (B, C, h, w), with the graph of the pass if it has one
    probabilities: Tensor  # (B, K, H, W), without
    filled: Tensor  # (B, H, W) bool, false where there is no image

    @classmethod
    def of(cls, features: Tensor, probabilities: Tensor, batch: Batch) -> Self:
        """For a batch of a `Pair`."""
        assert batch.filled is not None
        return cls(features.float(), probabilities, batch.filled)


class Transda(TeacherRegime):
    """Rounds: source features are pulled to those of the target, whose pseudo-labels are for the next round."""

    Options = TransdaOptions
    section = "transda"

    def __init__(self, setup: Setup, pretrained: Mapping[str, Teacher] | None = None) -> None:
        super().__init__(setup, pretrained)
        self.labelled = setup.labelled  # not in the warm-up round
        channels = FeatureTap(setup.model).channels
        self.discriminator = Discriminator(channels, 2 * setup.classes if self.options.class_wise else 1)
        self.weighting = Discriminator(channels)

    @property
    def passes(self) -> int:
        """Over the target, where it has pseudo-labels, and over the source; the discriminators see features alone."""
        return 1 + self.labelled

    def losses(self, batch: Pair) -> Iterator[dict[str, Tensor]]:
        """Yield `target` (with pseudo-labels), then `source` with `adversarial`, then those of the discriminators."""
        if self.labelled and self.teacher.is_student:
            with self.teacher.noting(), FeatureTap(self.model) as tap:
                terms, probabilities = self.task.loss_and_probabilities(self.model, batch.target)
            target = Output.of(tap.features.detach(), probabilities(), batch.target)
            student = target.probabilities
            yield {"target": total(terms)}
        else:
            target = self._teacher_output(batch.target)
            student = None  # which saw no target image: it agrees with nobody
            if self.labelled:
                terms, probabilities = self.task.loss_and_probabilities(self.model, batch.target)
                student = probabilities()
                yield {"target": total(terms)}
        self._note(batch, target.probabilities, student)
        with FeatureTap(self.model) as tap:
            terms, probabilities = self.task.loss_and_probabilities(self.model, batch.source)
        source = Output.of(tap.features, probabilities(), batch.source)
        yield from self._adversarial(source, target, self.named("source", terms, batch.source))

    def _adversarial(self, source: Output, target: Output, terms: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """The source's terms with the adversarial one, then the losses of both discriminators."""
        features = torch.cat([source.features.detach(), target.features])
        counts = [len(source.features), len(target.features)]
        domains = self._placed(self.weighting(features), source).split(counts)
        shown = [shown_at(output.filled, domain) for output, domain in zip((source, target), domains, strict=True)]
        weights = [
            self._weights(source_weights, source, domains[0], shown[0]),
            self._weights(target_weights, target, domains[1], shown[1]),
        ]
        labels = [self._labels(source, domains[0]), self._labels(target, domains[1])]
        fooled = self._placed(frozen_call(self.discriminator, source.features), source)
        yield terms | {"adversarial": self.options.adversarial * adversarial_loss(fooled, weights[0], labels[0])}
        predictions = self._placed(self.discriminator(features), source).split(counts)
        yield {
            "discriminator": discriminator_loss(*predictions, *weights, *labels),
            "weighting": discriminator_loss(domains[0], domains[1], counting(shown[0]), counting(shown[1])),
        }

    def modules(self) -> dict[str, nn.Module]:
        """The discriminator `D`, and the binary one `Dis` that the weights come from."""
        return {"discriminator": self.discriminator, "weighting": self.weighting}

    def param_groups(self) -> list[dict[str, Any]]:
        """Adam at a constant rate: AdamW without decay."""
        settings = {"lr": self.options.discriminator_lr, "betas": (0.9, 0.99)}
        return [named_group(name, module, **settings) for name, module in self.modules().items()]

    def _teacher_output(self, target: Batch) -> Output:
        with self.teacher.installed() as network, FeatureTap(network) as tap:
            probabilities = self.task.probabilities(network, target.pixel_values)
        return Output.of(tap.features, probabilities, target)

    def _placed(self, prediction: Tensor, output: Output) -> Tensor:
        """What a discriminator says, where it counts: of features or of pixels, as many in source and target."""
        return prediction if self.options.resolution == "features" else at_pixels(prediction, output.filled.shape[-2:])

    def _weights(
        self, weigh: Callable[[Tensor, Tensor, Tensor], Tensor], output: Output, domains: Tensor, shown: Tensor
    ) -> Tensor:
        """The weights of the positions, `(B, h, w)`: dynamic by the logits of `Dis`, 0 where there is no image."""
        counted = counting(shown)
        if not self.options.dynamic_weights:
            return counted
        return weigh(log_probabilities(output.probabilities), domains, shown) * counted

    def _labels(self, output: Output, domains: Tensor) -> Tensor | None:
        """Soft labels for the class-wise discriminator."""
        if not self.options.class_wise:
            return None
        return soft_labels(log_probabilities(output.probabilities), domains)

    def _note(self, batch: Pair, teacher: Tensor, student: Tensor | None) -> None:
        """The signals, of the class probabilities of both on the target; None: the student has none."""
        pseudo = pseudo_labels(teacher, filled=batch.target.filled)
        health = health_signals(pseudo, batch.source.labels, self.classes)
        self.signals = dict(health)
        if student is not None:
            self.signals["agreement"] = agreement(student.argmax(dim=1), pseudo.labels)

    @classmethod
    def check(cls, config: "RunConfig") -> None:
        """The task has probabilities of its classes, pixel by pixel."""
        super().check(config)
        if not task_named(config.task).offers("probabilities"):
            able = [name for name in TASKS.shipped if task_named(name).offers("probabilities")]
            raise ValueError(f"regime transda is for {', '.join(able)}; set regime to self_training")

    @classmethod
    def balance(cls, config: "RunConfig") -> str | None:
        """As the options have it."""
        return config.transda.balance

    @classmethod
    def rounds(cls, config: "RunConfig") -> Sequence[Mapping[str, Any]]:
        """The warm-up, perhaps of another length, and the rounds with pseudo-labels."""
        steps = config.transda.warmup_steps
        return [{} if steps is None else {"steps": steps}, *[{}] * config.transda.rounds]
