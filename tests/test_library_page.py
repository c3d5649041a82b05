"""What docs/library.md says without running it."""

from pathlib import Path

from minorkey.adapters import METHODS

PAGE = Path(__file__).parents[1] / "docs" / "library.md"


def test_the_table_of_methods_is_what_the_example_above_it_prints() -> None:
    table = "\n".join(f"{spec.name:17} {spec.description}" for spec in METHODS.values())
    assert f"```text\n{table}\n```" in PAGE.read_text(encoding="utf-8")
