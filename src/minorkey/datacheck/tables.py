"""What was found, for the terminal."""

from collections.abc import Iterator

from rich.table import Table

from minorkey.datacheck.findings import Check, Findings
from minorkey.tasks.counted import Counted

SHOWN = 10
"""Lines per data set; the rest is in the file."""


def data_table(check: Check) -> Table:
    """One row per data set."""
    counted = check.counted
    table = Table("data set", "use", title="Data")
    for heading in ("images", "size", "no labels", "ignored" if counted.by_share else counted.things, "problems"):
        table.add_column(heading, justify="right")
    for each in check.data:
        table.add_row(
            *(each.name, each.use, image_count(each), _sizes(each), str(each.unlabelled)),
            *(f"{each.ignored:.1%}" if counted.by_share else count_text(each), str(len(each.problems))),
            style="red" if each.problems else None,
        )
    return table


def count_text(found: Findings) -> str:
    """How many of what is counted there are, e.g. boxes, crowds apart."""
    return f"{sum(found.counts.values()):,}"


def _sizes(found: Findings) -> str:
    """The size, or the smallest and the largest of several."""
    sizes = list(found.sizes) or ["-"]
    return sizes[0] if len(sizes) == 1 else f"{sizes[0]} to\n{sizes[-1]}"


def class_table(check: Check) -> Table:
    """How much there is of every class, one column per data set."""
    table = Table("class", title=check.counted.title)
    for each in check.data:
        table.add_column(f"{each.name}\n{each.use}", justify="right")
    for name in check.data[0].frequencies if check.data else ():
        table.add_row(name, *(amount_text(each, name, check.counted) for each in check.data))
    return table


def own_table(check: Check) -> Table:
    """What the classes of the data sets themselves become, and how much there is of each."""
    shown = [each for each in check.data if each.own]
    table = Table("own class", "becomes", title=f"Classes in the files: {check.counted.things}")
    for each in shown:
        table.add_column(f"{each.name}\n{each.use}", justify="right")
    for (name, becomes), counts in own_rows(check).items():
        table.add_row(name, becomes, *(f"{counts[each.name]:,}" if each.name in counts else "-" for each in shown))
    return table


def own_rows(check: Check) -> dict[tuple[str, str], dict[str, int]]:
    """(class of a data set, what it becomes) -> name of the data set -> pixels, boxes or images."""
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for each in check.data:
        for own in each.own:
            rows.setdefault((own.name, own.becomes), {})[each.name] = own.count
    return rows


def problem_lines(check: Check) -> Iterator[str]:
    """The first problems of every data set."""
    yield from check.problems
    for each in check.data:
        yield from each.problems[:SHOWN]
        if len(each.problems) > SHOWN:
            yield f"{each.name}: and {len(each.problems) - SHOWN} more"


def verdict(check: Check) -> str:
    """The last word."""
    count = len(check.all_problems)
    if count:
        return f"{count} problem{'s' if count > 1 else ''} would stop a training or its evaluation"
    return "nothing here would stop a training"


def image_count(found: Findings) -> str:
    """How many images there are, and of how many of them it is spoken."""
    every = found.looked_at == found.images
    return f"{found.images:,}" if every else f"{found.looked_at:,} of {found.images:,}"


def amount_text(found: Findings, name: str, counted: Counted) -> str:
    """How much there is of a class: its share in percent, or a number."""
    if not counted.by_share:
        return f"{found.counts[name]:,}" if found.counts[name] else "never"
    share = 100 * found.frequencies[name]
    return f"{share:.3f}" if 0 < share < 0.1 else f"{share:.1f}" if share else "never"
