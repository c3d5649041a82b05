"""Which domains a run adapted to."""

from collections.abc import Sequence

from minorkey.data.corruptions import split_corruption
from minorkey.data.readers.locate import split_name
from minorkey.reporting.adaptation.log import Part
from minorkey.reporting.runs import Run


def target_domains(run: Run, parts: Sequence[Part]) -> list[str]:
    """The judged domains of whose kind the run saw images without labels.

    Those of the data sets in the config's `target`, and those of the pictures it kept while it trained.
    """
    pictured = {domain for part in parts for pictures in part.snapshots.values() for domain, _ in pictures}
    named = [entry["data"] if isinstance(entry, dict) else entry for entry in run.settings.get("target", [])]
    judged = [score.domain for score in run.scores.domains]
    return [name for name in judged if name in pictured or any(_holds(data, name) for data in named)]


def _holds(data: str, domain: str) -> bool:
    """Whether a data set, named as in the config, has the domain: `world:night` night, `acdc` acdc-fog and the rest."""
    clean, corruption = split_corruption(data)
    name, part = split_name(clean)
    own = part or "clear" if name == "world" else name.removeprefix("hf:").rstrip("/").rpartition("/")[2]
    found, _, seen_under = domain.partition("+")
    return seen_under == (corruption or "") and (found == own or found.startswith(f"{own}-"))
