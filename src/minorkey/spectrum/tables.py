"""A spectrum in the terminal, condensed so that it can be read at 80 columns."""

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from minorkey.spectrum.rows import DriftRow, Spectrum, UpdateRow, WeightRow
from minorkey.spectrum.summary import (
    Pooled,
    by_block,
    by_block_and_role,
    drift_by_domain,
    hundredths,
    pool,
    ranks_of,
    roles_of,
)

NO_VALUE = "–"


def spectrum_tables(spectrum: Spectrum) -> list[Table]:
    """The tables of a spectrum: weights, and of a run its update and drift."""
    tables = [
        _grid("Effective rank", spectrum.weights, lambda row: row.effective_rank, lambda value: f"{value:.0f}"),
        _grid(
            f"Energy in the minor {ranks_of(spectrum.weights)}, %",
            spectrum.weights,
            lambda row: row.minor_share,
            hundredths,
        ),
    ]
    if spectrum.update:
        tables.append(_update_table(spectrum.update))
    if spectrum.drift:
        tables.append(_drift_table(spectrum.drift))
    return tables


def _grid(
    title: str, rows: Sequence[WeightRow], value: Callable[[WeightRow], float], text: Callable[[float], str]
) -> Table:
    roles = roles_of(rows)
    table = _table(f"{title}, by block and role", roles)
    for block, cells in by_block_and_role(rows, value).items():
        table.add_row(str(block), *(text(cells[role]) if role in cells else NO_VALUE for role in roles))
    return table


def _update_table(update: Sequence[UpdateRow]) -> Table:
    both, either = ([f"{name} {sides}" for name in ("major", "minor", "random")] for sides in ("both", "either"))
    headings = ["size", "eff. rank", *both, *either, "intru- ders"]
    table = _table(f"Update: size |dW|/|W| in %, energy in the major and minor {ranks_of(update)} in %", headings)
    for block, pooled in by_block(update).items():
        table.add_row(str(block), *_update_cells(pooled))
    table.add_section()
    table.add_row("all", *_update_cells(pool(update)))
    return table


def _update_cells(pooled: Pooled) -> list[str]:
    if not pooled.changed:
        return ["0"] + [NO_VALUE] * 8
    shares = (pooled.major, pooled.minor, pooled.random)
    return [
        hundredths(pooled.relative_size),
        f"{pooled.effective_rank:.0f}",
        *(hundredths(share.both) for share in shares),
        *(hundredths(share.either) for share in shares),
        str(pooled.intruders),
    ]


def _drift_table(drift: Sequence[DriftRow]) -> Table:
    domains = drift_by_domain(drift)
    titles = [f"{name} (source)" if rows[0].role == "source" else name for name, rows in domains.items()]
    table = _table("Drift |f1 - f0|/|f0| of block outputs in %, by domain", titles)
    for rows in zip(*domains.values(), strict=True):
        table.add_row(str(rows[0].block), *(hundredths(row.change) for row in rows))
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("block", justify="right", style="dim")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table
