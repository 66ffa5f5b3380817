"""missing-where: an UPDATE or DELETE ran without its WHERE, or without one of its conditions.

log:      UPDATE t SET a = a * 1.10 WHERE s = 3
executed: UPDATE t SET a = a * 1.10
"""

import math
from collections.abc import Iterator

from diffing.model import Schema
from recovery.localize.candidate import Candidate, with_statements
from recovery.localize.statement import (
    injective_columns,
    targets,
    without_each_condition,
    without_where,
)
from recovery.model import Act, FaultClass, History


def candidates(act: Act, history: History, schema: Schema) -> Iterator[Candidate]:
    for place, statement in enumerate(act.statements):
        for parameters, executed, bits in _variants(statement):
            statements = (*act.statements[:place], executed, *act.statements[place + 1 :])
            yield Candidate(
                act.id,
                FaultClass.MISSING_WHERE,
                parameters,
                executed,
                with_statements(history, act.id, statements),
                history,
                bits + math.log2(max(len(history), 2)) + 3,
                targets(executed, schema),
                place,
                injective_columns(executed),
            )


def _variants(statement: str) -> Iterator[tuple[tuple[tuple[str, str], ...], str, float]]:
    whole = without_where(statement)
    if whole is None:
        return
    yield (("dropped", "WHERE"),), whole, 1.0
    for condition, executed in without_each_condition(statement):
        yield (("dropped", condition),), executed, 2.0
