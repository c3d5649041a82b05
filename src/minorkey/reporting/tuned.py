"""The page about rates that were chosen: what each reached on the source, and what to run next."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from markupsafe import Markup
from matplotlib.figure import Figure

from minorkey.plotting.canvas import plain_canvas
from minorkey.plotting.page_template import page_template
from minorkey.plotting.style import INK, METHOD_COLOURS, SPARE_COLOURS, inline_svg
from minorkey.reporting.next_steps import Step
from minorkey.runs.tune import PAGE, Choice
from minorkey.system.storage import write_text


def tuned_page(choices: Sequence[Choice], out: Path) -> Path:
    """Write `tune.html` into the folder of the trials, which `tune` has claimed.

    Raises:
        StorageError: it cannot be written.
    """
    page = page_template("tune.html.j2").render(
        choices=choices,
        metric=choices[0].metric,
        figure=Markup(inline_svg(_figure(choices), "rates")),
        next_steps=after_tuning(choices),
    )
    write_text(out / PAGE, page)
    return out / PAGE


def after_tuning(choices: Sequence[Choice]) -> list[Step]:
    """Train each method at its rate, and set the runs side by side."""
    runs = [quote(f"runs/{choice.file.stem}") for choice in choices]
    steps = [
        Step(
            f"Train {choice.method} with {choice.key}={choice.rate:g}, and judge it on its unseen domains:",
            f"minorkey train {quote(str(choice.file))} --out {run}",
        )
        for choice, run in zip(choices, runs, strict=True)
    ]
    if len(choices) > 1:
        steps.append(Step("Set them side by side:", f"minorkey report {' '.join(runs)}"))
    return steps


def _figure(choices: Sequence[Choice]) -> Figure:
    """Score over rate, a line for each method; its chosen rate is a large dot, one that diverged has none."""
    metric, spare = choices[0].metric, iter(SPARE_COLOURS * len(choices))
    figure, axes = plain_canvas(4.6, 3.2)
    for choice in choices:
        colour = METHOD_COLOURS.get(choice.method) or next(spare)
        points = {rate: metric.amount(score) for rate, score in choice.tried().items() if score is not None}
        axes.plot(list(points), list(points.values()), color=colour, marker=".", label=choice.method)
        axes.plot([choice.rate], [points[choice.rate]], "o", color=colour, markersize=8)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"{metric.heading}, source validation" + (", also corrupted" if choices[0].under else ""))
    axes.grid(axis="y")
    axes.legend(frameon=False, labelcolor=INK)
    return figure
