"""The rows of the campaign."""

from fault_trials.bad_input import bad_input
from fault_trials.damage import damage
from fault_trials.disturbances import disturb
from fault_trials.kills import kill
from fault_trials.load import LARGE, load
from fault_trials.results import Row
from fault_trials.same_seed import KINDS, VARIANTS, same_seed
from fault_trials.untrusted import untrusted

ROWS = [
    Row("kills", kill, 96, (0, 2, 3, 5)),
    Row("disturbances", disturb, 76, (1, 9, 15, 16)),
    Row("damage", damage, 168, tuple(range(6))),
    Row("bad input", bad_input, 660, tuple(range(18))),
    Row("untrusted", untrusted, 81, tuple(range(6))),
    Row("load", load, len(LARGE), (0,)),
    Row("same seed", same_seed, len(KINDS) * len(VARIANTS), (5,)),
]
