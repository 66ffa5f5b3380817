"""Rows are gone that should be there: deleted by a fault, or with what it deleted.

before: orders 17, 18, 19            (backup, predicted)
after:  orders 18                    (current)
"""

from repair_rules.hazards import about_amount, about_grade, about_schema, about_triggers
from repair_rules.model import OF_DATA, Damage, Facts, InsertRows, Kind, Proposal, Refusal


def propose(damage: Damage, facts: Facts) -> Proposal:
    if not facts.has_key(damage.table):
        return Refusal("the table has no key: whether a row is there already cannot be told")
    if not facts.columns(damage.table).issuperset(damage.columns):
        return Refusal("the current table lacks a column that the rows had")
    if not facts.mandatory(damage.table).issubset(damage.columns):
        return Refusal("the current table has a new column that must be filled in")
    hazards = (
        *about_grade(damage),
        *about_triggers(damage, facts, "insert"),
        *about_amount(damage, facts),
        *about_schema(damage, facts),
    )
    return (InsertRows(damage.table, hazards),)


KIND = Kind(
    "rows-deleted",
    OF_DATA,
    "rows-gone",
    propose,
)
