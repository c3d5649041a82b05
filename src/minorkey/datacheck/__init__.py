"""What can be said of the data of a training before it starts: counts, sizes, classes, and every fault there is."""

from minorkey.datacheck.findings import Check, Findings
from minorkey.datacheck.run import check

__all__ = ["Check", "Findings", "check"]
