"""The command line: one thin file per verb. Nothing heavy is imported before a verb runs."""

import os
import sys

import typer

from minorkey.cli.config import config
from minorkey.cli.data import data
from minorkey.cli.demo import demo
from minorkey.cli.evaluate import evaluate
from minorkey.cli.export import export
from minorkey.cli.hints import SettingsCommand
from minorkey.cli.leave_one_out import leave_one_out
from minorkey.cli.listing import list_parts
from minorkey.cli.page import show_page
from minorkey.cli.predict import predict
from minorkey.cli.report import report
from minorkey.cli.spectrum import spectrum
from minorkey.cli.train import train
from minorkey.cli.tune import tune
from minorkey.cli.verb import verb
from minorkey.system.launch import collect_seldom, give_way, is_launched_as_main, is_silent, leave, share_the_cores
from minorkey.system.terminal import outlast_the_terminal
from minorkey.system.unforeseen import one_line_of

TAKES_SETTINGS = (train, tune, leave_one_out, evaluate)
"""Commands with KEY=VALUE."""

OF_ONE_PROCESS = (spectrum, report, export)
"""Commands whose work is not shared out."""

app = typer.Typer(
    name="minorkey",
    help="Adapt pretrained vision models so that they work where their training data does not reach.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (demo, train, tune, leave_one_out, evaluate, predict, spectrum, report, export):
    kind = SettingsCommand if command in TAKES_SETTINGS else None
    app.command(cls=kind)(verb(command, alone=command in OF_ONE_PROCESS))
app.command("show")(verb(show_page, alone=True))
app.command("list")(verb(list_parts))
app.command(cls=SettingsCommand)(verb(config))
app.add_typer(data, name="data")


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from minorkey import __version__

        typer.echo(__version__)
        raise typer.Exit


def _tell(text: str, error: BaseException) -> None:
    """Say how it ended, unless another of the processes that were started together does."""
    give_way(error)
    if not is_silent():
        print(f"minorkey: {text}", file=sys.stderr)


def main() -> None:
    """Run the command line; a failure is one line on standard error, with exit code 2 where a user can mend it."""
    share_the_cores()
    collect_seldom()
    outlast_the_terminal()
    if not is_launched_as_main():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        app()
    except Exception as error:
        failed = one_line_of(error)
        _tell(str(failed), failed)
        leave(failed.exit_code)
    except KeyboardInterrupt as error:
        _tell("interrupted", error)
        leave(130)
    except SystemExit as end:  # how typer ends, whether well or not
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
