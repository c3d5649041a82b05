"""The health signals of a batch, as they go to the log."""

from torch import Tensor

from minorkey.data.sample import IGNORE_INDEX
from minorkey.regimes.health import agreement, class_shares
from minorkey.regimes.pseudo_labels import PseudoLabels


def health_signals(taught: PseudoLabels, said: Tensor | None, source_labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Label-free signs of how an adaptation goes, without a graph and on the device of what is given.

    They are shares and means over the target pixels, of which padding is none.

    Args:
        taught: the pseudo-labels of the batch.
        said: `(B, H, W)`, the student's classes of the target pixels, IGNORE_INDEX elsewhere; None: it was not asked.
        source_labels: `(B, H, W)`.
        classes: K.

    Returns:
        Scalars `confidence`, `kept` and, where the student was asked, `agreement`, and `pseudo_classes` and
        `source_classes` `(K,)`.
    """
    shown = taught.labels != IGNORE_INDEX
    pixels = shown.sum().clamp(min=1)
    agreed = {} if said is None else {"agreement": agreement(said, taught.labels)}
    return agreed | {
        "confidence": (taught.confidence * shown).sum() / pixels,
        "kept": taught.kept.sum() / pixels,
        "pseudo_classes": class_shares(taught.labels, classes),
        "source_classes": class_shares(source_labels, classes),
    }
