"""What the commands print at their end."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from minorkey.evaluation.scores import ScoreTable
from minorkey.reporting.tables import rich_table
from minorkey.run_folder import RunFolder


def show_scores(folders: Sequence[Path]) -> None:
    """Print the scores of run folders as one table."""
    tables = [ScoreTable.read(RunFolder(folder).metrics) for folder in folders]
    console = Console()
    console.print(rich_table(tables))
    for protocol in dict.fromkeys(table.protocol.describe() for table in tables):
        console.print(f"mIoU in %, 95 % interval over images; {protocol}", highlight=False, soft_wrap=True)
