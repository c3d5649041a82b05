"""What the labels of a task are counted in, in the words of the data check."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counted:
    """How the data check speaks of labels."""

    things: str  # what is counted of each class, e.g. pixels
    by_share: bool  # classes are compared by their share, of pixels, which are too many to be counted
    title: str  # of the table of classes
    empty: str  # what images are whose labels name no class, e.g. "have no boxes"
    lead: str  # above the table of data sets: what its columns mean
    pictures: str  # above the pictures: what they are shown with
    framed: bool = False  # the labels are drawn on the image, which is then not shown by itself
    width: int = 480  # of a picture, at most, in pixels


IMAGES = Counted(
    things="images",
    by_share=False,
    title="Images",
    empty="have no class",
    lead="Each labelled image has one class.",
    pictures="classes.",
)
