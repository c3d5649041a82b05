"""The test for a collapse of the pseudo-labels, by shares of classes that need no target label."""

from collections.abc import Sequence
from pathlib import Path

LEFT_TO_OTHERS = 0.2
"""What a collapse leaves of the share of all other classes together; see `collapsed_class`."""


FREQUENT = 0.01
"""Least share of a class in the source for it to be missed."""

HARDLY = 0.05
"""Of its share in the source: below that a class has vanished from the pseudo-labels."""


def collapsed_class(pseudo_classes: Sequence[float], source_classes: Sequence[float]) -> int | None:
    """The class that has swallowed the others among the pseudo-labels.

    A class c has, if all others together keep less than a fifth of what they hold in the source:

        1 - p_c < 0.2 (1 - q_c),    p: shares among the pseudo-labels, q: in the source

    So the limit moves with the prior: a class that the source hardly shows has to reach 80 %, one of 45 % (a road)
    89 %, one of 90 % (the background of a binary task) 98 %; where the source has one class only, that class never
    counts as collapsed. Data alone do not reach it: between any two of AirSim, CamVid and the built-in world (labels
    of 80 images each, space `street7`), the others of a class keep at least 59 %. A collapse passes any such
    limit, since it goes on until hardly another class is left.

    Args:
        pseudo_classes: K shares, of some dozens of crops at least: a single one may truly show but the road.
        source_classes: K shares among the source labels.

    Returns:
        Its train id; None where there is no such class, or where either has no shares (all 0).
    """
    if sum(pseudo_classes) == 0 or sum(source_classes) == 0:
        return None
    largest = max(range(len(pseudo_classes)), key=lambda place: pseudo_classes[place])
    swallowed = 1 - pseudo_classes[largest] < LEFT_TO_OTHERS * (1 - source_classes[largest])
    return largest if swallowed else None


def vanished_classes(pseudo_classes: Sequence[float], source_classes: Sequence[float]) -> list[int]:
    """Classes of the source, 1 % of it or more, of which less than a twentieth is left among the pseudo-labels.

    A class that is confused with a commoner one goes this way, and is not found in the target any more. In trainings
    from AirSim to CamVid (docs/results.md) no class fell below 0.17 of its share where the score rose, and the sidewalk
    to 0.01 to 0.06 where it fell.

    Args:
        pseudo_classes: K shares.
        source_classes: K shares among the source labels.

    Returns:
        Train ids; none where the pseudo-labels have no shares (all 0).
    """
    if sum(pseudo_classes) == 0:
        return []
    pairs = enumerate(zip(pseudo_classes, source_classes, strict=True))
    return [place for place, (ours, source) in pairs if source >= FREQUENT and ours < HARDLY * source]


def vanished_warning(name: str, share: float, source_share: float) -> str:
    """One line about a class that has vanished.

    Args:
        name: of the class.
        share: what is left of it among the pseudo-labels, 0 ... 1.
        source_share: what it holds of the source labels, 0 ... 1.
    """
    return (
        f"vanished: '{name}' is {share:.2%} of the pseudo-labels ({source_share:.2%} of the source); if the target "
        "shows it, balance the classes (self_training.balance, transda.balance) or make the warm-up longer"
    )


def collapse_warning(name: str, share: float, source_share: float, checkpoint: Path | None) -> str:
    """One line about a collapse.

    Args:
        name: of the class that has swallowed the others.
        share: what it holds of the pseudo-labels, 0 ... 1.
        source_share: what it holds of the source labels, 0 ... 1.
        checkpoint: the last one from before the collapse; None: there is none yet.
    """
    kept = f"The last good checkpoint is kept in '{checkpoint}'" if checkpoint else "No checkpoint is from before it"
    return (
        f"collapse: '{name}' is {share:.1%} of the pseudo-labels ({source_share:.1%} of the source); lower "
        f"training.lr, raise the threshold or make the warm-up longer. {kept}"
    )
