"""The rows of the campaign."""

from fault_trials.bad_input import bad_input
from fault_trials.damage import damage
from fault_trials.disturbances import disturb
from fault_trials.kills import kill
from fault_trials.results import Row

ROWS = [
    Row("kills", kill, 96, (0, 1, 2, 3, 4, 5)),
    Row("disturbances", disturb, 76, (0, 1, 2, 3, 4, 5)),
    Row("damage", damage, 168, tuple(range(8))),
    Row("bad input", bad_input, 660, tuple(range(24))),
]
