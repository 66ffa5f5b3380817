"""The kinds of damage, in the order in which they are asked.

A new kind is one file and one line.
"""

from repair_rules.kinds import cells_overwritten, rows_added, rows_deleted
from repair_rules.model import Damage, Facts, Kind, Proposal, Refusal

KINDS: tuple[Kind, ...] = (cells_overwritten.KIND, rows_deleted.KIND, rows_added.KIND)


def propose(damage: Damage, facts: Facts) -> tuple[str, Proposal]:
    """(name of the kind, what it proposes) for the first kind that fits."""
    for kind in KINDS:
        if damage.fault_class in kind.fits and damage.shape == kind.shape:
            return kind.name, kind.propose(damage, facts)
    return "", Refusal("no kind of repair is known for this damage")
