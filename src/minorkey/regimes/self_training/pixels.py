"""Online self-training: a teacher labels target images, and the student learns them mixed, masked and distorted.

Per step: the source loss; the loss on target images with half of the classes of a source image pasted in (ClassMix,
as in DACS, arXiv 2007.08702); the loss on target images of which most is hidden (MIC, arXiv 2212.01322). Pseudo-labels
count by how sure the teacher is. A distance to the pretrained features may be added on source and target images
(DAFormer, arXiv 2111.14887; behind a head as in VFM-UDA++, arXiv 2503.10685).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from minorkey.data.photometric import PhotometricConfig, distort, draw_distortion
from minorkey.data.sample import IGNORE_INDEX, Batch, Pair, denormalise, normalise
from minorkey.models.features import FeatureTap, features_alone
from minorkey.regimes.base import named, total
from minorkey.regimes.options import MaskingOptions, SelfTrainingOptions
from minorkey.regimes.pseudo_labels import PseudoLabels, pseudo_labels
from minorkey.regimes.self_training.balance import BALANCES, balanced
from minorkey.regimes.self_training.feature_distance import FeatureHead, feature_distance
from minorkey.regimes.self_training.masking import patch_mask
from minorkey.regimes.self_training.mixing import class_mask, mix
from minorkey.regimes.self_training.token_dropping import dropped_tokens
from minorkey.regimes.signals import health_signals
from minorkey.regimes.taught import Taught, named_group
from minorkey.regimes.teachers import Teacher
from minorkey.system.transfer import send
from minorkey.tasks.segmentation.task import Segmentation

LAST = -1
"""Level of the features whose distance counts, as in DAFormer."""


class SelfTraining(Taught):
    """The regime.

    Args:
        task: says what the losses are.
        model: what trains.
        teacher: who labels the target.
        anchor: the pretrained backbone; None where no feature distance is asked for.
        options: which parts.
        photometric: how mixed and masked images are distorted; None: not at all.
        statistics: mean and standard deviation of the images' normalisation.
        classes: K.
        steps: length of the training.
        lr: of the head of the feature distance.
    """

    task: Segmentation

    def __init__(
        self,
        task: Segmentation,
        model: nn.Module,
        teacher: Teacher,
        anchor: Teacher | None,
        options: SelfTrainingOptions,
        photometric: PhotometricConfig | None,
        statistics: tuple[tuple[float, ...], tuple[float, ...]],
        classes: int,
        steps: int,
        lr: float,
    ) -> None:
        super().__init__(task, model, teacher, classes, steps)
        self.anchor, self.options, self.photometric, self.statistics = anchor, options, photometric, statistics
        self.lr = lr
        self.balance = BALANCES[options.balance](classes) if options.balance else None
        self.feature_head = FeatureHead(FeatureTap(model, LAST).channels) if anchor else None

    @property
    def passes(self) -> int:
        """Over the source alone in the warm-up; then over mixed images and, where asked for, masked ones."""
        return 1 if self.done < self.options.warmup else 2 + (self.options.masking is not None)

    def losses(self, batch: Pair) -> Iterator[dict[str, Tensor]]:
        """Yield `source` and, after the warm-up, `mixed` and `masked`, each with the feature distance of its pass."""
        source, target = batch.source, batch.target
        taught = self._teach(source, target)
        with self._tap("source") as tap:
            terms = self.task.loss(self.model, source)
        yield named("source", terms, source) | self._distance("source", tap, source)
        if self.done < self.options.warmup:
            self.signals = health_signals(taught, None, source.labels, self.classes)
            return
        mixed, weights, pasted = self._mixed(source, target, taught)
        with self._tap("target") as tap:
            terms, read = self.task.loss_and_reading(self.model, mixed, weights)
        yield {"mixed": total(terms)} | self._distance("target", tap, mixed)
        said = read().argmax(dim=1).where(~pasted, IGNORE_INDEX)
        self.signals = health_signals(taught, said, source.labels, self.classes)
        if self.options.masking is not None:
            yield {"masked": self._masked_loss(self.options.masking, target, taught)}

    def teachers(self) -> dict[str, Teacher]:
        """Who labels the target, and the pretrained backbone."""
        return super().teachers() | ({} if self.anchor is None else {"anchor": self.anchor})

    def modules(self) -> dict[str, nn.Module]:
        """The head behind which features are compared."""
        return {} if self.feature_head is None else {"feature_head": self.feature_head}

    def running(self) -> dict[str, nn.Module]:
        """What balances the classes of the teacher, where something does."""
        return {} if self.balance is None else {"balance": self.balance}

    def param_groups(self) -> list[dict[str, Any]]:
        """It learns as the head of the network does."""
        named = self.modules().items()
        return [named_group(name, module, lr=self.lr, initial_lr=self.lr) for name, module in named]

    def _teach(self, source: Batch, target: Batch) -> PseudoLabels:
        """What the teacher says of the target images as they were taken."""
        assert target.clean is not None
        assert target.filled is not None
        with self.teacher.installed() as network:
            probabilities = self.task.probabilities(network, target.clean)
        if self.balance is not None:
            probabilities = balanced(probabilities, self.balance.factors(probabilities, target.filled, source.labels))
        return pseudo_labels(probabilities, self.options.threshold, target.filled)

    def _labels(self, taught: PseudoLabels) -> Tensor:
        return taught.sure() if self.options.unsure == "drop" else taught.labels

    def _weights(self, taught: PseudoLabels) -> Tensor:
        return taught.weights if self.options.unsure == "weigh" else torch.ones_like(taught.weights)

    def _mixed(self, source: Batch, target: Batch, taught: PseudoLabels) -> tuple[Batch, Tensor, Tensor]:
        """Target images with classes of source images pasted in, pixel weights, and where pasted; `(B, H, W)`."""
        assert source.clean is not None
        assert source.filled is not None
        assert target.clean is not None
        assert target.filled is not None
        weights = self._weights(taught)
        pasted = class_mask(source.labels) if self.options.class_mix else torch.zeros_like(source.labels).bool()
        images = self._distorted(mix(pasted, source.clean, target.clean), mix(pasted, source.filled, target.filled))
        labels = mix(pasted, source.labels, self._labels(taught))
        mixed = Batch(images, labels, domains=target.domains, keys=target.keys)
        return mixed, mix(pasted, torch.ones_like(weights), weights), pasted

    def _masked_loss(self, masking: MaskingOptions, target: Batch, taught: PseudoLabels) -> Tensor:
        """The loss on target images of which most is hidden."""
        assert target.clean is not None
        assert target.filled is not None
        images = self._distorted(target.clean, target.filled)
        hidden: AbstractContextManager[Any] = nullcontext()
        if masking.hide == "tokens":
            hidden = dropped_tokens(self.model, masking.ratio)
        else:
            images = images * patch_mask(images, masking.ratio, masking.patch)
        batch = Batch(images, self._labels(taught), domains=target.domains, keys=target.keys)
        with hidden:
            return total(self.task.loss(self.model, batch, self._weights(taught)))

    def _distorted(self, images: Tensor, filled: Tensor) -> Tensor:
        """Every normalised image with a random distortion of its own; 0 where there is no image."""
        if self.photometric is None:
            return images
        # The loop seeds the global state by the step, so that a resumed run draws the same.
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        drawn = np.array([draw_distortion(self.photometric, rng) for _ in images], np.float32)
        distorted = distort(denormalise(images, *self.statistics).clamp(0, 1), send(drawn, images.device))
        return normalise(distorted, *self.statistics) * filled[:, None]

    def _tap(self, part: Literal["source", "target"]) -> AbstractContextManager[FeatureTap | None]:
        """Reads the student's features, where their distance counts."""
        return FeatureTap(self.model, LAST) if self._distance_weight(part) else nullcontext()

    def _distance_weight(self, part: Literal["source", "target"]) -> float:
        options = self.options
        return options.feature_distance_source if part == "source" else options.feature_distance_target

    def _distance(self, part: Literal["source", "target"], tap: FeatureTap | None, batch: Batch) -> dict[str, Tensor]:
        """The weighted distance of the student's features to the pretrained ones of the same images."""
        if tap is None or self.anchor is None or self.feature_head is None:
            return {}
        with self.anchor.installed() as network:
            pretrained = features_alone(network, batch.pixel_values, LAST)
        distance = feature_distance(self.feature_head(tap.features.float()), pretrained)
        return {f"feature_distance_{part}": self._distance_weight(part) * distance}
