"""A knock-out as it is printed: a line per block, source beside the mean of the unseen domains."""

from collections.abc import Sequence

from rich.table import Table

from minorkey.spectrum.knockout.rows import KnockoutRow


def knockout_table(rows: Sequence[KnockoutRow]) -> Table:
    """Loss of score, mean over the domains of a role, with and without which components.

    The domains one by one, their intervals and the classes are in the files.
    """
    metric = rows[0].scored
    columns = [
        (end, role) for end in dict.fromkeys(r.which for r in rows) for role in dict.fromkeys(r.role for r in rows)
    ]
    table = Table("block", title=f"loss in {metric.of_points(metric.name)}", title_justify="left", title_style="")
    for end, role in columns:
        table.add_column(f"without {end}:\n{role}", justify="right")
    for block in dict.fromkeys(row.block_name for row in rows):
        cells = []
        for column in columns:
            losses = [row.loss for row in rows if row.block_name == block and (row.which, row.role) == column]
            cells.append(metric.number(sum(losses) / len(losses), sign="+"))
        table.add_row(block, *cells)
    return table
