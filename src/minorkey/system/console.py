"""Where commands print: names from data are shown as they are, and do nothing to the terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from minorkey.errors import printable


class PlainConsole(Console):
    """A console that reads no markup in a text, and shows control characters in it as escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """As of every console; the texts of tables come here too."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)
