"""Rows are there that a fault added, and that nobody has changed since.

before: import_line is empty         (backup, predicted)
after:  import_line 1, 2, 3          (current)
"""

from repair_rules.hazards import about_amount, about_grade, about_schema, about_triggers
from repair_rules.model import OF_DATA, Damage, DeleteRows, Facts, Hazard, Kind, Proposal, Refusal


def propose(damage: Damage, facts: Facts) -> Proposal:
    if not facts.has_key(damage.table):
        return Refusal("the table has no key: which of equal rows to delete cannot be told")
    hazards = (
        (Hazard.DELETES_ROWS, f"{damage.rows} rows of {damage.table} are deleted"),
        *about_grade(damage),
        *about_triggers(damage, facts, "delete"),
        *about_amount(damage, facts),
        *about_schema(damage, facts),
    )
    return (DeleteRows(damage.table, hazards),)


KIND = Kind(
    "rows-added",
    OF_DATA,
    "rows-added",
    propose,
)
