"""as-described: the step did exactly what the log says, and that was the mistake. Its target is
the history without the step; whether a narrower statement was intended is the first question.
"""

from diffing.model import Schema
from recovery.localize.candidate import Candidate, with_statements
from recovery.localize.statement import injective_columns, targets
from recovery.model import Act, FaultClass, History


def candidate(act: Act, history: History, schema: Schema) -> Candidate:
    aims = tuple(target for statement in act.statements for target in targets(statement, schema))
    lines = [injective_columns(statement) for statement in act.statements]
    return Candidate(
        act.id,
        FaultClass.AS_DESCRIBED,
        (),
        ";\n".join(act.statements),
        history,
        with_statements(history, act.id, ()),
        0.0,
        aims,
        0,
        lines[0] if len(lines) == 1 else frozenset(),
    )
