"""Cells hold a value that a fault gave them, directly or by a later step that built on it.

before: product.price = 100.00       (backup, predicted)
after:  product.price = 110.00       (current)
"""

from repair_rules.hazards import about_amount, about_grade, about_schema, about_triggers
from repair_rules.model import OF_DATA, Damage, Facts, Kind, Proposal, Refusal, SetCells


def propose(damage: Damage, facts: Facts) -> Proposal:
    if not facts.has_key(damage.table):
        return Refusal("the table has no key: a single cell cannot be addressed")
    if not facts.columns(damage.table).issuperset(damage.columns):
        return Refusal("the current table lacks a column that is damaged")
    if not facts.key(damage.table).isdisjoint(damage.columns):
        return Refusal("a column of the key is damaged: which row it was cannot be told")
    if not facts.always_identity(damage.table).isdisjoint(damage.columns):
        return Refusal("a column is damaged that only the database itself may number")
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
    OF_DATA,
    "cells",
    propose,
)
