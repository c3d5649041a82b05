"""`minorkey spectrum`."""

from pathlib import Path

import typer

from minorkey.errors import ConfigError


def spectrum(
    target: str = typer.Argument(
        metavar="BACKBONE|RUN", help="A run folder, or a backbone: 'builtin', a local folder, a hub id."
    ),
    rank: int | None = typer.Option(
        None, min=1, help="Components that count as minor (and as major); default: the run's rank, or 16."
    ),
    images: int = typer.Option(8, min=0, help="Images per domain for the drift of a run; 0 leaves it out."),
    knockout: bool = typer.Option(False, "--knockout", help="Judge without the major or minor components instead."),
    components: float | None = typer.Option(
        None, help="With --knockout: share of each weight's components to remove; default 0.125."
    ),
    with_unseen: bool = typer.Option(
        False, "--with-unseen", help="With --knockout: let labels of unseen domains choose first_block, too."
    ),
    out: Path | None = typer.Option(
        None, help="Folder for tables and pictures; default RUN/spectrum, or spectrum-BACKBONE."
    ),
) -> None:
    """Show what lies in the weights of a backbone, and what the training of a run changed there.

    Of every weight that an adapter could go to: its singular values, its effective rank (how many components
    it really uses), and the share of its energy (sum of squared singular values) in the minor components,
    the RANK smallest, which SoMA tunes.

    Of a run, whatever its method, also: the update dW of every weight, how large it is, its effective rank, how much
    of it lies in the major and the minor components of the pretrained weight (beside what a random update would have
    there), and its intruder dimensions; and how far the output of each block drifted from the pretrained
    one on images of each domain, source and unseen.

    Tables are written as CSV and JSON, pictures as PNG and SVG. `minorkey report RUN` puts them on its page.

    With `--knockout`, SoMA's analysis: the run (of a backbone, a linear head trained on it) is judged on each
    domain after the major or the minor components of one block, or of all, were removed from its weights. From
    what the source loses, a `first_block` is suggested: how many early blocks to freeze. An interrupted knock-out
    goes on where it stopped.

    Examples:

    * `minorkey spectrum builtin`

    * `minorkey spectrum facebook/dinov2-large --rank 16 --out dinov2-l`

    * `minorkey spectrum runs/soma --images 20`

    * `minorkey spectrum runs/soma --knockout`
    """
    from minorkey.system.console import PlainConsole

    if knockout and rank is not None:
        raise ConfigError("--rank is not of --knockout; say by --components what share of each weight is removed")
    if not knockout and (components is not None or with_unseen):
        option = "--with-unseen" if components is None else "--components"
        raise ConfigError(f"{option} is of --knockout; add that, or leave it out")
    if knockout:
        _knock_out(target, components, images, with_unseen, out)
        return

    from minorkey.spectrum.run import spectrum_folder, survey
    from minorkey.spectrum.summary import findings
    from minorkey.spectrum.tables import spectrum_tables

    out = out or spectrum_folder(target)
    found = survey(target, rank=rank, images=images, out=out)
    console = PlainConsole()
    for table in spectrum_tables(found):
        console.print(table)
    for sentence in findings(found):
        console.print(sentence, highlight=False)
    typer.echo(f"tables and pictures: {out}")


def _knock_out(target: str, components: float | None, images: int, with_unseen: bool, out: Path | None) -> None:
    from minorkey.spectrum.knockout.analysis import SHARE, analyse
    from minorkey.spectrum.knockout.table import knockout_table
    from minorkey.spectrum.run import spectrum_folder
    from minorkey.system.console import PlainConsole

    share = SHARE if components is None else components
    rows, suggestion = analyse(target, components=share, images=images, with_unseen=with_unseen, out=out)
    console = PlainConsole()
    console.print(knockout_table(rows))
    console.print(
        f"suggested: method.first_block={suggestion.first_block}, because {suggestion.reason}", highlight=False
    )
    typer.echo(f"tables and pictures: {out or spectrum_folder(target)}")
