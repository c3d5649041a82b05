"""How a task is scored: a row of `Task.metrics` says what the score is called, what it is in, and which way is up."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from minorkey.tasks.evidence import Evidence

if TYPE_CHECKING:
    from minorkey.data.sample import Sample
    from minorkey.tasks.predictor import Started
    from minorkey.tasks.protocol import Protocol


class Evaluator(ABC):
    """Looks at the images of a domain one by one, and keeps of each what a metric needs.

    Args:
        num_classes: K, of the label space.
        protocol: how the images are looked at.
    """

    def __init__(self, num_classes: int, protocol: "Protocol") -> None:
        self.num_classes, self.protocol = num_classes, protocol

    @abstractmethod
    def note(self, sample: "Sample", started: "Started") -> Any:
        """What is kept of one image, small and without tensors of a device: processes hand it on. Waits for the device.

        Raises:
            DataError: the sample has no labels (`evidence.unlabelled`).
        """

    @abstractmethod
    def evidence(self, notes: Sequence[Any]) -> Evidence:
        """The evidence of a domain, from the notes of its images."""

    @abstractmethod
    def restored(self, arrays: Mapping[str, NDArray]) -> Mapping[str, Evidence]:
        """The evidence of every domain from the arrays of a file, the inverse of `Evidence.stored`.

        Raises:
            KeyError: an array is missing.
        """


@dataclass(frozen=True)
class Metric:
    """What is scored, and how the score is written.

    >>> depth = Metric("RMSE", "Root of the mean squared error.", Evaluator, unit="m", higher_is_better=False, digits=3)
    >>> depth.text(0.52), depth.difference(-0.1), depth.best([0.52, 0.4]), depth.heading
    ('0.520 m', '0.100 m', 0.4, 'RMSE, m')
    """

    name: str  # of the score of a domain, as tables have it
    meaning: str  # how it comes about, a sentence
    evaluator: Callable[[int, "Protocol"], Evaluator]  # from the number of classes and the protocol
    class_name: str | None = None  # of the score of one class; None: classes have none
    of_truth: str = ""  # the further score of classes that is a share of the truth, so undefined where they never occur
    rule: str = ""  # where the name does not say it; fields of the protocol in braces
    unit: str = "%"  # of the score; %: it is a fraction in [0, 1]; "": a plain number
    higher_is_better: bool = True
    digits: int = 1  # decimals that are shown
    evidence_file: str = "evidence.safetensors"  # in the run folder

    @property
    def per_class(self) -> bool:
        """Whether single classes have scores."""
        return self.class_name is not None

    @property
    def heading(self) -> str:
        """Name and unit, as axes and columns have them: `mIoU, %`."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def in_unit(self) -> str:
        """Name and unit, as sentences have them: `mIoU in %`."""
        return f"{self.name} in {self.unit}" if self.unit else self.name

    @property
    def points(self) -> str:
        """What differences are in: `points`, where the score is in percent."""
        return "points" if self.unit == "%" else self.unit

    def of_points(self, name: str) -> str:
        """What differences of a score of this name are: `points of mIoU`, `m of RMSE`."""
        return f"{self.points} of {name}" if self.points else name

    def amount(self, score: float) -> float:
        """A score, or a difference of scores, in its unit."""
        return 100 * score if self.unit == "%" else score

    def write(self, amount: float, sign: str = "") -> str:
        """A number that is in the unit, as text; with sign "+" also for those above 0."""
        return f"{amount:{sign}.{self.digits}f}"

    def number(self, score: float, sign: str = "") -> str:
        """A score in its unit, without it."""
        return self.write(self.amount(score), sign)

    def text(self, score: float) -> str:
        """A score with its unit: `43.2 %`."""
        return f"{self.number(score)} {self.unit}".rstrip()

    def difference(self, score: float) -> str:
        """The size of a difference of scores: `1.5 points`."""
        return f"{self.number(abs(score))} {self.points}".rstrip()

    def rank(self, score: float) -> float:
        """Sorts scores, the best first."""
        return -score if self.higher_is_better else score

    def best(self, scores: Iterable[float]) -> float:
        """The best of some scores."""
        return min(scores, key=self.rank)

    def worst(self, scores: Iterable[float]) -> float:
        """The worst of some scores."""
        return max(scores, key=self.rank)
