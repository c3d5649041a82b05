"""An option that there is not may be a setting, which the command line takes as KEY=VALUE."""

from typing import Any

import typer
from typer.core import TyperCommand

Usage: Any = typer.BadParameter.__mro__[1]
"""What is wrong with a command line, a class of click's or of the copy of it that typer has."""


class SettingsCommand(TyperCommand):
    """A command that takes settings as KEY=VALUE, and says so where one is given as an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            ConfigError: an option is unknown, and is a key of the configuration.
        """
        try:
            return super().parse_args(ctx, args)
        except Usage as error:
            _meant(getattr(error, "option_name", None))
            raise


def _meant(option: str | None) -> None:
    """Raise `ConfigError` where an option that is unknown is a key."""
    if not option:
        return
    from minorkey.config import RunConfig
    from minorkey.errors import ConfigError
    from minorkey.system.faults import places_of

    if keys := places_of(option.lstrip("-").replace("-", "_"), RunConfig):
        settings = " or ".join(f"{key}=VALUE" for key in keys)
        raise ConfigError(f"there is no option {option}; it is a setting: {settings}")
