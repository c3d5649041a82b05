"""The section on adaptation: pseudo-labels over time, health, losses, and what it gained, for runs with a target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from minorkey.labels import LabelSpace
from minorkey.plotting.style import inline_svg
from minorkey.reporting.adaptation.figures import Line, class_figure, gain_figure, loss_figure, signal_figure
from minorkey.reporting.adaptation.log import SIGNALS, LogPart, read_parts, series
from minorkey.reporting.adaptation.pictures import Timeline, build_timeline
from minorkey.reporting.adaptation.runs import Comparison, compare_adapted, target_domains
from minorkey.reporting.runs import Run
from minorkey.reporting.tables import REGIMES, run_labels


@dataclass(frozen=True)
class AdaptedRun:
    """What one run with a target left behind."""

    place: int  # among the runs of the page
    label: str
    colour: str
    run: Run
    parts: list[LogPart]
    targets: list[str]  # judged domains of the target


@dataclass(frozen=True)
class AdaptationView:
    """One run's pseudo-labels, ready for the page."""

    label: str
    colour: str
    collapses: list[str]  # a sentence each
    timeline: Timeline | None
    classes: Markup | None  # figure


@dataclass(frozen=True)
class GainView:
    """One comparison with a source-only run, ready for the page."""

    heading: str
    sentence: str
    figure: Markup | None  # None: classes have no scores


def adapted_runs(runs: Sequence[Run], colours: Sequence[str]) -> list[AdaptedRun]:
    """The runs that had a target.

    Raises:
        DataError: The log of a round is broken.
    """
    labels = run_labels([run.scores for run in runs])
    return [
        AdaptedRun(place, label, colour, run, parts, target_domains(run, parts))
        for place, (run, label, colour) in enumerate(zip(runs, labels, colours, strict=True))
        if (parts := read_parts(run))
    ]


def curve_figures(adapted: Sequence[AdaptedRun]) -> dict[str, Figure]:
    """`adaptation-health` and `adaptation-losses`, where they were logged."""
    lines = [Line(each.label, each.colour, each.parts) for each in adapted]
    figures = {"adaptation-health": signal_figure(lines, things_of(adapted)), "adaptation-losses": loss_figure(lines)}
    return {name: figure for name, figure in figures.items() if figure}


def adaptation_rows(adapted: Sequence[AdaptedRun]) -> list[tuple[str, list[str]]]:
    """A quantity and its text for each run; what no run has is left out."""
    settings = [each.run.settings for each in adapted]
    rows = {
        "Regime": [REGIMES.get(name, name) for name in (str(values.get("regime", "")) for values in settings)],
        "Teacher": [_teacher(values) for values in settings],
        "Target": [", ".join(each.targets) for each in adapted],
        "Broken images skipped": [_skipped(each.parts) for each in adapted],
        **{_title(title, adapted): [_ends(each.parts, name) for each in adapted] for name, title in SIGNALS.items()},
    }
    return [(name, texts) for name, texts in rows.items() if any(texts)]


def adaptation_views(adapted: Sequence[AdaptedRun], space: LabelSpace) -> list[AdaptationView]:
    """Pictures and classes of the pseudo-labels of every run; of another label space than `space`, neither.

    Raises:
        DataError: A picture is broken.
    """
    return [_view(each, space) for each in adapted]


def gain_views(runs: Sequence[Run], adapted: Sequence[AdaptedRun]) -> list[GainView]:
    """Every adapted run beside a source-only one, where the page has one that it can be compared with."""
    targets: Mapping[int, list[str]] = {each.place: each.targets for each in adapted}
    labels = run_labels([run.scores for run in runs])
    return [
        GainView(
            f"{labels[each.adapted]} against source-only {labels[each.source_only]} on {each.domain}",
            _gain(each),
            Markup(inline_svg(gain_figure(each), f"gain-{number}")) if each.classes else None,
        )
        for number, each in enumerate(compare_adapted(runs, targets))
    ]


def things_of(adapted: Sequence[AdaptedRun]) -> str:
    """What their tasks count, e.g. pixels; more than one where they differ."""
    return " and ".join(dict.fromkeys(each.run.scores.of_task.counted.things for each in adapted))


def _title(title: str, adapted: Sequence[AdaptedRun]) -> str:
    return title.format(things=things_of(adapted)).capitalize()


def _view(each: AdaptedRun, space: LabelSpace) -> AdaptationView:
    ours = each.run.scores.classes == list(space.classes)
    figure = class_figure(each.parts, space, things_of([each])) if ours else None
    return AdaptationView(
        label=each.label,
        colour=each.colour,
        collapses=[
            f"“{name}” had swallowed the other classes among the pseudo-labels of {each.label} at step {step:,}"
            + (f" of the {part.name}" if part.name == "warm-up" else f" of {part.name}" if part.name else "")
            for part in each.parts
            for name, step in part.collapses().items()
        ],
        timeline=build_timeline(each.parts, space) if ours else None,
        classes=Markup(inline_svg(figure, f"pseudo-classes-{each.place}")) if figure else None,
    )


def _teacher(settings: Mapping[str, Any]) -> str:
    teacher = settings.get("teacher", "")
    return str(teacher.get("name", "") if isinstance(teacher, dict) else teacher)


def _skipped(parts: Sequence[LogPart]) -> str:
    """How many; empty for none."""
    return str(len(set().union(*(part.skipped() for part in parts))) or "")


def _ends(parts: Sequence[LogPart], name: str) -> str:
    """What was logged first and last, in percent."""
    values = 100 * series(parts, name)
    return f"{values[0]:.1f} → {values[-1]:.1f} %" if values.size else ""


def _gain(each: Comparison) -> str:
    metric = each.metric
    change = f"{metric.write(each.after - each.before, sign='+')} {metric.points}".rstrip()
    after = f"{metric.write(each.after)} {metric.unit}".rstrip()
    text = f"{metric.name} {metric.write(each.before)} → {after}, {change}"
    if each.difference is not None:
        low, high = (metric.number(bound, sign="+") for bound in each.difference[1:])
        text += f" (95 % paired bootstrap over images {low} to {high})"
    return text.replace("-", "−") + (
        "." if each.same_method else "; part of it may be the method's, which differs too."
    )
