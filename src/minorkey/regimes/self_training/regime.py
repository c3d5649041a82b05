"""Online self-training: a teacher labels target images, and the student learns views of them, for any task.

Per step: the source loss, then the loss on each view that the task has of the pseudo-labelled images, e.g. mixed and
masked ones (`tasks/self_training.py`). What is masked is hidden here, as patches of pixels or as tokens. A distance to
the pretrained features may be added on source and target images (DAFormer, arXiv 2111.14887; behind a head as in
VFM-UDA++, arXiv 2503.10685).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from minorkey.data.sample import Batch, Pair
from minorkey.models.features import FeatureTap, features_alone
from minorkey.models.heads.set_criterion import total
from minorkey.regimes.base import Setup, TeacherRegime, named_group
from minorkey.regimes.self_training.feature_distance import FeatureHead, feature_distance
from minorkey.regimes.self_training.masking import patch_mask
from minorkey.regimes.self_training.token_dropping import dropped_tokens
from minorkey.regimes.teachers import Anchor, Teacher
from minorkey.tasks.pseudo_labels import agreement
from minorkey.tasks.self_training import SelfTrainingOptions, View
from minorkey.tasks.table import task_named

if TYPE_CHECKING:
    from minorkey.config import RunConfig

LAST = -1
"""Level of the features whose distance counts, as in DAFormer."""


class SelfTraining(TeacherRegime):
    """A teacher labels images of the target batch by batch, and the student learns them; options are the task's."""

    Options = SelfTrainingOptions
    section = "self_training"

    def __init__(self, setup: Setup, pretrained: Mapping[str, Teacher] | None = None) -> None:
        super().__init__(setup, pretrained)
        assert setup.colours is not None
        self.lr = setup.lr
        self.anchor = (pretrained or {}).get("anchor")
        self.labeller = setup.task.pseudo_labeller(self.options, setup.classes, setup.colours)
        self.feature_head = FeatureHead(FeatureTap(setup.model, LAST).channels) if self.anchor else None
        masking = self.options.masking
        if masking is not None and masking.hide == "tokens":
            with dropped_tokens(setup.model):  # a backbone whose tokens cannot be dropped is better refused now
                pass

    @property
    def passes(self) -> int:
        """Over the source and, after the warm-up, each view of the target."""
        return 1 + (0 if self.done < self.options.warmup else len(self.labeller.views()))

    def losses(self, batch: Pair) -> Iterator[dict[str, Tensor]]:
        """Yield `source` and, after the warm-up, each view; feature distances with source and first view."""
        options = self.options
        with self.teacher.installed() as network:
            labels = self.labeller.label(network, batch)
        self.signals = self.labeller.signals(labels, batch)
        with self._tap(options.feature_distance_source) as tap:
            terms = self.task.loss(self.model, batch.source)
        distance = self._distance(options.feature_distance_source, tap)
        yield self.named("source", terms, batch.source) | _part("feature_distance_source", distance)
        if self.done < options.warmup:
            return
        weight = options.feature_distance_target
        for name, make_view in self.labeller.views().items():
            view = make_view(batch, labels)
            with self._seen(view) as seen, self._tap(weight) as tap:
                terms, probabilities = self.task.loss_and_probabilities(self.model, seen, view.weights)
            distance = self._distance(weight, tap)
            yield {name: options.weight * total(terms)} | _part("feature_distance_target", distance)
            if view.compared is not None:
                found = probabilities()
                agreed = agreement(found.argmax(dim=1), view.compared, found.shape[1])
                self.signals = self.signals | {"agreement": agreed}
            weight = 0.0  # of the first view alone

    def teachers(self) -> dict[str, Teacher]:
        """Who labels the target, and the pretrained backbone where features are compared with its own."""
        return super().teachers() | ({} if self.anchor is None else {"anchor": self.anchor})

    def modules(self) -> dict[str, nn.Module]:
        """The head behind which features are compared."""
        return {} if self.feature_head is None else {"feature_head": self.feature_head}

    def running(self) -> dict[str, nn.Module]:
        """What the labeller keeps, such as what balances the classes of the teacher."""
        return dict(self.labeller.named_children())

    def param_groups(self) -> list[dict[str, Any]]:
        """It learns as the head of the network does."""
        return [named_group(name, module, lr=self.lr, initial_lr=self.lr) for name, module in self.modules().items()]

    @contextmanager
    def _seen(self, view: View) -> Iterator[Batch]:
        """The view's batch, of which the student does not see what is hidden."""
        batch, masking = view.batch, self.options.masking
        if not view.masked or masking is None:
            yield batch
        elif masking.hide == "tokens":
            with dropped_tokens(self.model, masking.ratio):
                yield batch
        else:
            images = batch.pixel_values
            yield replace(batch, pixel_values=images * patch_mask(images, masking.ratio, masking.patch))

    def _tap(self, weight: float) -> AbstractContextManager[FeatureTap | None]:
        """Reads the student's features, where their distance counts."""
        return FeatureTap(self.model, LAST) if weight else nullcontext()

    def _distance(self, weight: float, tap: FeatureTap | None) -> Tensor | None:
        """The weighted distance of the student's features to the pretrained ones of the same images."""
        if tap is None or self.anchor is None or self.feature_head is None:
            return None
        with self.anchor.installed() as network:
            pretrained = features_alone(network, tap.pixel_values, LAST)
        return weight * feature_distance(self.feature_head(tap.features.float()), pretrained)

    @classmethod
    def pretrained(cls, setup: Setup) -> dict[str, Teacher]:
        """The teacher, if it is the pretrained network, and that network where features are compared with its own."""
        options = setup.options
        compares = options.feature_distance_source or options.feature_distance_target
        return super().pretrained(setup) | ({"anchor": Anchor(setup.model, setup.attached)} if compares else {})

    @classmethod
    def check(cls, config: "RunConfig") -> None:
        """The task makes pseudo-labels, and a warm-up leaves steps to adapt in."""
        super().check(config)
        if task_named(config.task).self_training is None:
            raise ValueError(f"regime self_training needs pseudo-labels, which {config.task} has none of; take another")
        if (warmup := cls.warmup(config)) >= config.training.steps:
            steps = f"{warmup} of {config.training.steps} steps"
            raise ValueError(f"{cls.section}.warmup is {steps}: nothing is left to adapt in; make it shorter")

    @classmethod
    def warmup(cls, config: "RunConfig") -> int:
        """As the options have it."""
        return config.self_training.warmup


def _part(name: str, loss: Tensor | None) -> dict[str, Tensor]:
    return {} if loss is None else {name: loss}
