"""The section on the weights: what lies in them and what each training changed, where `minorkey spectrum` has run."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from minorkey.plotting.style import inline_svg
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import run_labels
from minorkey.spectrum.files import holds_spectrum, read_spectrum
from minorkey.spectrum.plots import spectrum_figures
from minorkey.spectrum.rows import Spectrum
from minorkey.spectrum.summary import findings, last_drift, percent, pool, ranks_of
from minorkey.system.run_folder import RunFolder

CAPTIONS = {
    "update": "Where the update lies: its share of energy in the largest and smallest components of each pretrained "
    "weight, per block, on both sides (input and output) and on at least one.",
    "drift": "How far the output of each block moved from the pretrained one, on images of each domain.",
    "singular-values": "Singular values of the pretrained weights, a curve per block.",
    "minor-share": "Share of the energy of the pretrained weights that lies in the smallest components.",
}


@dataclass(frozen=True)
class SpectrumView:
    """One run's spectrum, ready for the page."""

    label: str
    colour: str
    sentences: list[str]
    figures: list[tuple[str, Markup]]  # caption, SVG
    values: dict[str, str]  # a cell of the table per quantity


def spectrum_views(runs: Sequence[Run], colours: Sequence[str]) -> list[SpectrumView]:
    """The runs that have a spectrum.

    Raises:
        DataError: a file of a spectrum is broken.
    """
    labels = run_labels([run.scores for run in runs])
    folders = [RunFolder(run.folder).spectrum for run in runs]
    return [
        _view(read_spectrum(folder), label, colour, number)
        for number, (folder, label, colour) in enumerate(zip(folders, labels, colours, strict=True))
        if holds_spectrum(folder)
    ]


def spectrum_rows(views: Sequence[SpectrumView]) -> list[tuple[str, list[str]]]:
    """A quantity and its text for each view; empty where a view has none."""
    names = dict.fromkeys(name for view in views for name in view.values)
    rows = [(name, [view.values.get(name, "") for view in views]) for name in names]
    return [(name, texts) for name, texts in rows if any(texts)]


def _view(spectrum: Spectrum, label: str, colour: str, number: int) -> SpectrumView:
    drawn = spectrum_figures(spectrum)
    figures = [
        (caption, Markup(inline_svg(drawn[name], f"{name}-{number}")))
        for name, caption in CAPTIONS.items()
        if name in drawn
    ]
    return SpectrumView(label, colour, findings(spectrum), figures, _values(spectrum))


def _values(spectrum: Spectrum) -> dict[str, str]:
    update, rank = pool(spectrum.update), ranks_of(spectrum.update) if spectrum.update else ""
    values = {
        "Weights changed": f"{update.changed} of {update.weights}",
        "Size of the update": percent(update.relative_size),
        "Effective rank of the update": f"{update.effective_rank:.0f}",
        f"Update in the minor {rank}, at least one side": percent(update.minor.either),
        f"Update in the major {rank}, at least one side": percent(update.major.either),
        "A random update there": percent(update.random.either),
        "Intruder dimensions": str(update.intruders),
    }
    if not update.changed:
        values = {name: text if name == "Weights changed" else "" for name, text in values.items()}
    for role in ("source", "unseen"):
        changes = [row.change for row in last_drift(spectrum.drift) if row.role == role]
        values[f"Drift of the last block, {role}"] = percent(fmean(changes)) if changes else ""
    return values
