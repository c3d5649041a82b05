"""The section on knock-outs: what each run loses without major or minor components, where one was made."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from minorkey.plotting.style import inline_svg
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import run_labels
from minorkey.spectrum.knockout.files import read_knockout
from minorkey.spectrum.knockout.plots import knockout_figures
from minorkey.system.run_folder import RunFolder

CAPTIONS = {
    "knockout_major": "Loss without the major components of the weights of a block, or of all blocks.",
    "knockout_minor": "The same without the minor components.",
    "knockout_classes": "Loss per class, all blocks together.",
}


@dataclass(frozen=True)
class KnockoutView:
    """One run's knock-out, ready for the page."""

    label: str
    first_block: int  # suggested
    reason: str
    figures: list[tuple[str, Markup]]  # caption, SVG


def knockout_views(runs: Sequence[Run]) -> list[KnockoutView]:
    """The runs that have a knock-out.

    Raises:
        StorageError: a file of a knock-out is damaged.
    """
    views = []
    for number, (run, label) in enumerate(zip(runs, run_labels([run.scores for run in runs]), strict=True)):
        found = read_knockout(RunFolder(run.folder).spectrum)
        if found is not None:
            rows, suggestion = found
            figures = [
                (CAPTIONS[name], Markup(inline_svg(figure, f"{name}-{number}")))
                for name, figure in knockout_figures(rows).items()
            ]
            views.append(KnockoutView(label, suggestion.first_block, suggestion.reason, figures))
    return views
