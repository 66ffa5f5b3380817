"""Cells hold a value that a fault gave them, directly or by a later step that built on it.

before: product.price = 100.00       (backup, predicted)
after:  product.price = 110.00       (current)
"""

from repair_rules.hazards import about_amount, about_grade, about_schema, about_triggers
from repair_rules.model import Damage, Facts, Kind, Proposal, Refusal, SetCells


def propose(damage: Damage, facts: Facts) -> Proposal:
    if not facts.has_key(damage.table):
        return Refusal("the table has no key: a single cell cannot be addressed")
    columns = tuple(name for name in damage.columns if name not in facts.generated(damage.table))
    if not columns:
        return Refusal("only generated columns are damaged: they follow from the others")
    hazards = (
        *about_grade(damage),
        *about_triggers(damage, facts, "update"),
        *about_amount(damage, facts),
        *about_schema(damage, facts),
    )
    return (SetCells(damage.table, columns, hazards),)


KIND = Kind(
    "cells-overwritten",
    frozenset({"missing-where", "wrong-value", "as-described"}),
    "cells",
    propose,
)
