"""The recovery depth report as data: `report/depth.json`, from which every page is made.

Every number is counted from the relation `damage` or taken from the ledger; a page adds none.
Sentences stand in it once per language. What was not compared has no counts: null, never 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from diffing.model import Ledger, Status, TableDiff
from recovery.case.result import Json
from recovery.depth import Totals, all_safe, share, totals, words
from recovery.messages import LANGUAGES, show
from recovery.model import (
    Assessment,
    Evidence,
    Fault,
    Grade,
    Group,
    Label,
    Plan,
    Question,
    Rehearsal,
    Step,
    TableDepth,
)
from recovery.reports.samples import samples

_FAULTS = 'SELECT fault, count(*), count(DISTINCT ("table", key)) FROM damage GROUP BY ALL'
_FAULT_LABELS = "SELECT fault, label, count(*) FROM damage GROUP BY ALL"
_FAULT_TABLES = 'SELECT DISTINCT fault, "table" FROM damage ORDER BY ALL'
_COLUMNS = """
    SELECT "column", count(*) FROM damage WHERE "table" = $table
    GROUP BY ALL ORDER BY count(*) DESC, "column" """


@dataclass(frozen=True, slots=True)
class Case:
    """What the report says about its case beside the findings. `made_at` is passed in: the same
    case gives the same bytes. Without a ledger the report cannot say what was compared."""

    name: str = ""
    made_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    ledger: Ledger | None = None


def depth_document(
    assessment: Assessment,
    plan: Plan,
    rehearsal: Rehearsal | None,
    evidence: Sequence[Evidence],
    depths: Sequence[TableDepth],
    facts: duckdb.DuckDBPyConnection,
    *,
    case: Case = Case(),
) -> Mapping[str, Json]:
    """The document `depth/1`. Reads `facts`, writes nothing."""
    sums = totals(depths)
    bounds = share(facts, assessment.faults)
    open_ends = [] if case.ledger is None else _open_ends(case.ledger)
    unknown = frozenset(table.table for table in open_ends)
    return {
        "dbmend": "depth/1",
        "case": case.name,
        "made_at": _time(case.made_at),
        "verdict": assessment.verdict,
        "warnings": _texts(assessment.warnings),
        "taken": {role: _time(_taken(evidence, role)) for role in ("backup", "current")},
        "faults": _faults(assessment.faults, case.steps, facts),
        "none_of_these": assessment.none_of_these,
        "totals": _totals(sums),
        "exact_share": None
        if bounds is None
        else {"lower": bounds.lower, "expected": bounds.expected, "upper": bounds.upper},
        "tables": [_table(depth, facts, whole=depth.table not in unknown) for depth in depths],
        "compared": None if case.ledger is None else _compared(case.ledger),
        "unknown_tables": [_unknown_table(table) for table in open_ends],
        "schema_differences": None if case.ledger is None else len(case.ledger.schema),
        "questions": [_question(question) for question in assessment.questions],
        "plan": _plan(plan),
        "rehearsal": None if rehearsal is None else _rehearsal(rehearsal),
        "assumptions": _texts(assessment.assumptions),
        "coverage": _texts(assessment.coverage),
        "does_not_prove": _texts(assessment.does_not_prove),
        "evidence": [_evidence(item) for item in evidence],
    }


def _totals(sums: Totals) -> Mapping[str, Json]:
    return {
        "tables": sums.tables,
        "cells": sum(count for _, count in sums.cells),
        "rows": sum(count for _, count in sums.rows),
        "words": {"cells": _words(sums.cells), "rows": _words(sums.rows)},
        "grades": {"cells": _grades(sums.cells), "rows": _grades(sums.rows)},
        "labels": _labels(sums.labels),
        "legitimate": {
            "documented": sums.legitimate.documented,
            "undocumented": sums.legitimate.undocumented,
        },
    }


def _table(
    depth: TableDepth, facts: duckdb.DuckDBPyConnection, *, whole: bool
) -> Mapping[str, Json]:
    """One table; of a table that was not compared whole the recovery point is unknown."""
    rows = sum(count for _, count in depth.rows)
    columns = facts.execute(_COLUMNS, {"table": depth.table}).fetchall()
    return {
        "table": depth.table,
        "cells": sum(count for _, count in depth.cells),
        "rows": rows,
        "words": {"cells": _words(depth.cells), "rows": _words(depth.rows)},
        "grades": {"cells": _grades(depth.cells), "rows": _grades(depth.rows)},
        "labels": _labels(depth.labels),
        "columns": [{"column": name, "cells": count} for name, count in columns],
        "legitimate": {"documented": depth.documented, "undocumented": depth.undocumented},
        "recovery_point": _recovery_point(depth, whole=whole),
        "samples": samples(facts, depth.table, rows=rows),
    }


def _recovery_point(depth: TableDepth, *, whole: bool) -> Mapping[str, Json]:
    if not whole:
        return {"state": "unknown", "at": None}
    state = "current" if all_safe(depth) else "backup"
    return {"state": state, "at": _time(depth.recovery_point)}


def _faults(
    faults: Iterable[Fault], steps: Sequence[Step], facts: duckdb.DuckDBPyConnection
) -> Sequence[Json]:
    sizes = {fault: (cells, rows) for fault, cells, rows in facts.execute(_FAULTS).fetchall()}
    labels: dict[str, list[tuple[Label, int]]] = {}
    for fault, label, count in facts.execute(_FAULT_LABELS).fetchall():
        labels.setdefault(fault, []).append((Label(label), count))
    tables: dict[str, list[Json]] = {}
    for fault, table in facts.execute(_FAULT_TABLES).fetchall():
        tables.setdefault(fault, []).append(table)
    by_id = {step.id: step for step in steps}
    return [
        {
            "id": fault.id,
            "step": _step(by_id.get(fault.step), fault.step),
            "class": str(fault.fault_class),
            "parameters": dict(fault.parameters),
            "probability": fault.probability,
            "accepted": fault.accepted,
            "cause": fault.cause,
            "statement": fault.statement,
            "evidence": _texts(fault.evidence),
            "cells": sizes.get(fault.id, (0, 0))[0],
            "rows": sizes.get(fault.id, (0, 0))[1],
            "labels": _labels(labels.get(fault.id, ())),
            "tables": tables.get(fault.id, []),
        }
        for fault in faults
    ]


def _step(step: Step | None, name: str) -> Mapping[str, Json]:
    """The step in the customer's own words; of a step that is not in the log only its name."""
    if step is None:
        return {"id": name, "what": "", "actor": "", "at": None, "until": None}
    return {
        "id": step.id,
        "what": step.what,
        "actor": step.actor,
        "at": _time(step.at),
        "until": _time(step.until),
    }


def _compared(ledger: Ledger) -> Mapping[str, Json]:
    whole = [table for table in ledger if table.status in {Status.IDENTICAL, Status.DIFFERENT}]
    return {
        "tables": len(whole),
        "tables_of": len(ledger.tables),
        "identical": sum(1 for table in whole if table.status is Status.IDENTICAL),
        "rows": {
            "backup": sum(table.rows.backup for table in whole),
            "current": sum(table.rows.current for table in whole),
        },
    }


def _open_ends(ledger: Ledger) -> Sequence[TableDiff]:
    """Tables of which nothing, or not everything, is known."""
    return [table for table in ledger if table.status in {Status.PARTIAL, Status.NOT_COMPARED}]


def _unknown_table(table: TableDiff) -> Mapping[str, Json]:
    return {
        "table": table.table,
        "status": str(table.status),
        "why": _text(table.why),
        "damaged_cells": None,
    }


def _question(question: Question) -> Mapping[str, Json]:
    return {
        "id": question.id,
        "text": _text(question.text),
        "rows": question.rows,
        "alternatives": [
            {
                "text": _text(choice.text),
                "consequence": _text(choice.consequence),
                "rows": choice.rows,
            }
            for choice in question.alternatives
        ],
    }


def _plan(plan: Plan) -> Mapping[str, Json]:
    return {
        "digest": plan.digest,
        "groups": [_group(group) for group in plan.groups],
        "refusals": [
            {
                "fault": refusal.fault,
                "table": refusal.table,
                "reason": _text(refusal.reason),
                "cells": refusal.cells,
            }
            for refusal in plan.refusals
        ],
    }


def _group(group: Group) -> Mapping[str, Json]:
    return {
        "id": group.id,
        "fault": group.fault,
        "kind": group.kind,
        "grade": str(group.grade),
        "op": group.operation.op,
        "table": group.operation.table,
        "columns": list(group.operation.columns),
        "rows": group.operation.rows,
        "cells": group.operation.cells,
        "hazards": [{"name": note.name, "detail": _text(note.detail)} for note in group.hazards],
        "why": _text(group.why),
    }


def _rehearsal(rehearsal: Rehearsal) -> Mapping[str, Json]:
    return {
        "passed": rehearsal.passed,
        "proposal": rehearsal.proposal,
        "body_digest": rehearsal.body_digest,
        "checks": [
            {
                "name": check.name,
                "title": _text(check.name),
                "passed": check.passed,
                "detail": _text(check.detail),
                "figures": dict(check.figures),
            }
            for check in rehearsal.checks
        ],
    }


def _evidence(item: Evidence) -> Mapping[str, Json]:
    return {
        "role": item.role,
        "name": item.path.name,
        "size": item.size,
        "sha256": item.sha256,
        "kind": _text(item.kind),
        "detail": _text(item.detail),
        "taken_at": _time(item.taken_at),
    }


def _taken(evidence: Sequence[Evidence], role: str) -> datetime | None:
    """When the first source of this role was taken, if it says so."""
    return next((item.taken_at for item in evidence if item.role == role), None)


def _words(grades: Iterable[tuple[Grade, int]]) -> Mapping[str, Json]:
    return {str(word): count for word, count in words(grades)}


def _grades(pairs: Iterable[tuple[Grade, int]]) -> Mapping[str, Json]:
    found = dict(pairs)
    return {str(grade): found.get(grade, 0) for grade in Grade}


def _labels(pairs: Iterable[tuple[Label, int]]) -> Mapping[str, Json]:
    found = dict(pairs)
    return {str(label): found.get(label, 0) for label in Label}


def _texts(sentences: Iterable[str]) -> Sequence[Json]:
    return [_text(sentence) for sentence in sentences]


def _text(sentence: str) -> Mapping[str, Json]:
    return {language: show(sentence, language) for language in LANGUAGES}


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
