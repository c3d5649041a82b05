"""One self-contained HTML page about one or several runs; nothing is loaded from elsewhere.

Its only script moves the slider between two predictions; without it they stand side by side.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from minorkey.evaluation.scores import ScoreTable
from minorkey.labels import LabelSpace
from minorkey.plotting.page_template import page_template
from minorkey.plotting.style import css, inline_svg, save_figure
from minorkey.reporting.adaptation.rows import (
    AdaptedRun,
    adaptation_rows,
    adaptation_views,
    adapted_runs,
    curve_figures,
    gain_views,
    things_of,
)
from minorkey.reporting.adaptation.runs import target_notes
from minorkey.reporting.changes import changes
from minorkey.reporting.compared import compare
from minorkey.reporting.details import (
    cost_rows,
    domain_class_rows,
    domain_detail_rows,
    missing_class_notes,
    unseen_class_rows,
)
from minorkey.reporting.figures import curve_figure, run_colours, score_figure
from minorkey.reporting.gains import gain_figure
from minorkey.reporting.gallery import build_gallery, choice_words, classes_shown
from minorkey.reporting.knockout import knockout_views
from minorkey.reporting.next_steps import after_comparing
from minorkey.reporting.plain import TABLES
from minorkey.reporting.robustness import all_robustness_rows, summarise
from minorkey.reporting.robustness_figure import draw_robustness
from minorkey.reporting.runs import Run, read_runs, runs_in
from minorkey.reporting.seeds import by_method, interval_words
from minorkey.reporting.spectrum import spectrum_rows, spectrum_views
from minorkey.reporting.tables import build_grid, comparable, method_label, reference, run_labels
from minorkey.reporting.verdict import verdict
from minorkey.system.ours import refuse_unmarked
from minorkey.system.processes import from_main
from minorkey.system.run_folder import RunFolder
from minorkey.system.storage import write_text
from minorkey.system.unforeseen import public
from minorkey.tasks.table import task_named

PACKAGES = ("minorkey", "torch", "transformers", "peft", "accelerate")


@public
def report(runs: str | Path | Sequence[str | Path], out: str | Path | None = None, title: str | None = None) -> Path:
    """One page on one or several runs, or on those in a folder; by default `report.html` in the only one that is given.

    Of several, it is in the working folder. An `out` that ends in `.md` is what it says and its scores as a table of
    Markdown, one that ends in `.csv` the scores of every run and domain, a line each.
    """
    folders = [Path(runs)] if isinstance(runs, (str, Path)) else [Path(run) for run in runs]
    only = RunFolder(folders[0]).report if len(folders) == 1 else Path("report.html")
    inside = [run for folder in folders for run in runs_in(folder)]
    place = Path(out) if out else only
    build = TABLES.get(place.suffix.lower(), build_report)
    return from_main(lambda: build(inside, place, title))


def build_report(runs: Sequence[Path], out: Path, title: str | None = None, scenes_per_domain: int = 2) -> Path:
    """Write a page that sets runs side by side; its figures also go to `figures/` beside it as SVG and PNG.

    Args:
        runs: Run folders with `metrics.json`, and, where they exist, `config.yaml`, `log.jsonl`,
            the evidence of the scores (paired intervals), `figures/samples/` (the gallery).
        out: The HTML file to write.
        title: Heading of the page.
        scenes_per_domain: How many kept samples of each domain are shown.

    Returns:
        `out`.

    Raises:
        ConfigError: `out`, or a figure beside it, is a file that we did not write.
        DataError: No run is given, or a run folder is missing, incomplete or broken.
        StorageError: The page cannot be written.
    """
    refuse_unmarked([out])
    loaded = read_runs(runs)
    adapted = adapted_runs(loaded, run_colours(loaded))
    methods = by_method(loaded)
    figures = _draw(methods) | curve_figures(adapted)
    page = _render(loaded, methods, adapted, figures, title or _title(loaded, adapted), scenes_per_domain)
    places = {out.parent / "figures" / name: figure for name, figure in figures.items()}
    if not out.is_file() or (out.parent / "figures").is_symlink():  # else they are the page's, of whichever version
        refuse_unmarked(place.with_suffix(suffix) for place in places for suffix in (".svg", ".png"))
    for place, figure in places.items():
        save_figure(figure, place)
    write_text(out, page)
    return out


def _render(
    loaded: Sequence[Run],
    runs: Sequence[Run],
    adapted: Sequence[AdaptedRun],
    figures: dict[str, Figure],
    title: str,
    scenes_per_domain: int,
) -> str:
    """The page about `runs`, one for each method; `loaded` are all seeds, which adaptation shows one by one."""
    tables = [run.scores for run in runs]
    compared = reference(tables)
    space = next(run for run in runs if run.scores is compared).space
    return page_template("page.html.j2").render(
        title=title,
        verdict=verdict(runs),
        note=_note(runs),
        interval=interval_words(runs),
        several_seeds=any(run.members for run in runs),
        **_argument(runs),
        grid=build_grid(tables),
        reference=compared,
        labels=_labels(runs),
        colours=run_colours(runs),
        notes=missing_class_notes(tables),
        costs=cost_rows([table.training for table in tables]),
        runs=runs,
        versions=_versions(),
        domain_class_rows=domain_class_rows,
        domain_detail_rows=domain_detail_rows,
        svg={name: Markup(inline_svg(figure, name)) for name, figure in figures.items()},
        **_gallery(runs, compared, space, scenes_per_domain),
        **_classes(runs, space),
        **_adaptation(loaded, adapted, space),
        **_spectra(runs),
        knockouts=knockout_views(runs),
        robustness=summarise(all_robustness_rows(tables)),
    )


def _draw(runs: Sequence[Run]) -> dict[str, Figure]:
    colours = run_colours(runs)
    figures = {"scores": score_figure(build_grid([run.scores for run in runs]), colours)}
    parts = compare(runs)
    if parts and (scatter := gain_figure(parts, runs, colours)):
        figures["gains"] = scatter
    if curves := curve_figure(runs, colours):
        figures["curves"] = curves
    if rows := all_robustness_rows([run.scores for run in runs]):
        figures["robustness"] = draw_robustness(rows, dict(zip(_labels(runs), colours, strict=True)))
    return figures


def _argument(runs: Sequence[Run]) -> dict[str, Any]:
    """What changed for whom, and what to do next."""
    parts = compare(runs)
    return {
        "changes": changes(parts, runs, run_colours(runs)) if parts else None,
        "next_steps": after_comparing(runs),
    }


def _labels(runs: Sequence[Run]) -> list[str]:
    return run_labels([run.scores for run in runs])


def _gallery(runs: Sequence[Run], compared: ScoreTable, space: LabelSpace, scenes_per_domain: int) -> dict[str, Any]:
    """Scenes and legend; a run of another task, or with other classes, has nothing to set beside them: left out."""
    shown = [
        (label, colour, run)
        for label, colour, run in zip(_labels(runs), run_colours(runs), runs, strict=True)
        if (run.scores.task, run.scores.classes) == (compared.task, compared.classes) and run.samples
    ]
    pictured = [run for *_, run in shown]
    present = classes_shown(pictured, space)
    legend = [(name, css(space.colours[i])) for i, name in enumerate(space.classes) if i in present]
    words = compared.of_task.gallery_words()
    return {
        "gallery_runs": [(label, colour) for label, colour, _ in shown],
        "scenes": build_gallery(pictured, space, scenes_per_domain),
        "choice": choice_words(pictured),
        "wipe": _wipe(runs, pictured) if words.wipe and len(pictured) > 1 else None,
        "words": words,
        "legend": legend,
    }


def _wipe(runs: Sequence[Run], pictured: Sequence[Run]) -> tuple[int, int]:
    """The places, among the runs with pictures, of the two that the slider shows at first."""
    parts, last = compare(runs), len(pictured) - 1
    if parts is None:
        return 0, last
    places = {run.folder: place for place, run in enumerate(pictured)}
    right = places.get(parts.subject.run.folder, last)
    left = places.get(parts.rival.run.folder, 0)
    return (left, right) if left != right else (0 if right else last, right)


def _classes(runs: Sequence[Run], space: LabelSpace) -> dict[str, Any]:
    tables = [run.scores for run in runs]
    same = comparable(tables)
    return {
        "class_rows": unseen_class_rows([table for table, keep in zip(tables, same, strict=True) if keep]),
        "class_labels": [label for label, keep in zip(run_labels(tables), same, strict=True) if keep],
        "class_colours": {name: css(colour) for name, colour in zip(space.classes, space.colours, strict=True)},
    }


def _adaptation(runs: Sequence[Run], adapted: Sequence[AdaptedRun], space: LabelSpace) -> dict[str, Any]:
    return {
        "adaptation": adaptation_views(adapted, space),
        "adaptation_rows": adaptation_rows(adapted),
        "adapted_things": things_of(adapted),
        "gains": gain_views(runs, adapted),
        "target_notes": target_notes(runs),
    }


def _spectra(runs: Sequence[Run]) -> dict[str, Any]:
    views = spectrum_views(runs, run_colours(runs))
    return {"spectra": views, "spectrum_rows": spectrum_rows(views)}


def _note(runs: Sequence[Run]) -> str:
    """What is known of the model that ships, where all runs began with it on clear days of its world."""
    if any(run.settings.get("head_from") != "builtin" or run.settings.get("source") != ["world:clear"] for run in runs):
        return ""
    return task_named(runs[0].settings["task"]).demo_note


def _title(runs: Sequence[Run], adapted: Sequence[AdaptedRun]) -> str:
    methods = list(dict.fromkeys(method_label(run.scores) for run in runs))
    names = " and ".join(part for part in (", ".join(methods[:-1]), methods[-1]) if part)
    sources = dict.fromkeys(score.domain for run in runs for score in run.scores.home)
    targets = dict.fromkeys(domain for each in adapted for domain in each.targets)
    return (
        names
        + (f", trained on {', '.join(sources)}" if sources else "")
        + (f", adapted to {', '.join(targets)}" if targets else "")
    )


def _versions() -> str:
    found = [f"Python {python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # running from a source tree that was not installed
            continue
    return ", ".join(found)
