"""What every verb takes beside its own options."""

import inspect
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from minorkey.errors import MinorkeyError
from minorkey.system.launch import is_silent, refuse_several
from minorkey.system.outside import outside_allowed, outside_faults
from minorkey.system.unforeseen import one_line_of

AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Let a run or data set name code that is not minorkey's (it is run).")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]


def verb(command: Callable[..., None], *, alone: bool = False) -> Callable[..., None]:
    """A command with `--allow-outside` and `--debug`, which fails in one line whatever it fails of.

    Args:
        command: the function.
        alone: several processes do not share the work.
    """

    @wraps(command)
    def run(*, allow_outside: bool, debug: bool, **given: Any) -> None:
        try:
            if alone:
                refuse_several()
            with outside_allowed(allow_outside), outside_faults():
                command(**given)
        except (typer.Exit, typer.Abort, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a library in Rust that fails raises no `Exception`
            if debug and not is_silent():
                traceback.print_exc()
            if isinstance(error, MinorkeyError):
                raise
            raise one_line_of(error) from error

    more = {"allow_outside": AllowOutside, "debug": Debug}
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in more.items()]
    signature = inspect.signature(command)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, **more}
    return run
