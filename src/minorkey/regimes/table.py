"""The regimes by name; a new one is a class with its options and losses, and a row here."""

from minorkey.catalog import Catalog
from minorkey.regimes.base import Regime

REGIMES: Catalog[type[Regime]] = Catalog(
    "regime",
    {
        "supervised": "minorkey.regimes.supervised:Supervised",
        "self_training": "minorkey.regimes.self_training.regime:SelfTraining",
        "transda": "minorkey.regimes.transda.regime:Transda",
    },
    "a subclass of minorkey.regimes.base:Regime",
    lambda part: isinstance(part, type) and issubclass(part, Regime),
)
