"""What `evaluate --robustness` prints and draws at its end; apart, for drawing takes long to import."""

from pathlib import Path

from minorkey.evaluation.scores import ScoreTable
from minorkey.plotting.style import save_figure
from minorkey.reporting.robustness import robustness_rows, robustness_table, write_robustness
from minorkey.reporting.robustness_figure import draw_robustness
from minorkey.system.console import PlainConsole
from minorkey.system.run_folder import RunFolder


def show_robustness(folder: Path) -> None:
    """Print the scores under corruptions as a table; write it, and the plot, beside the scores."""
    scores = ScoreTable.read(RunFolder(folder).metrics)
    rows = robustness_rows(scores)
    write_robustness(folder, rows)
    save_figure(draw_robustness(rows), folder / "figures" / "robustness")
    console = PlainConsole()
    console.print(robustness_table(rows))
    console.print(f"{scores.metric.in_unit}; {scores.protocol.describe()}", highlight=False, soft_wrap=True)
    console.print(f"table: {folder / 'robustness.csv'}, plot: {folder / 'figures' / 'robustness.png'}")
