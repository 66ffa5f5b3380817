"""The documents of a case as values, and back, exactly: what is read equals what was written.

Writers give the fields of a document (the folder puts its kind and version at the head); readers
take the opened document and raise EngineError(UNUSABLE) naming the place that is not as expected.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar, cast

from diffing.model import Ledger, SchemaDivergence, Sides, Status, TableDiff
from recovery.case.reading import Reader, damaged
from recovery.case.result import Json
from recovery.model import (
    Alternative,
    Assessment,
    AssessmentVerdict,
    Cause,
    Check,
    Fault,
    FaultClass,
    Grade,
    Group,
    HazardNote,
    Label,
    OperationHead,
    Plan,
    PlanRefusal,
    Question,
    Rehearsal,
    Script,
    TableDepth,
)

Word = TypeVar("Word", Label, Grade, FaultClass, Status)
VERDICTS = ("clean", "damaged", "inconclusive")
CAUSES = ("user", "administrator", "hardware", "software", "unknown")
OPERATIONS = ("set-cells", "insert-rows", "delete-rows")
SCOPES = ("all", "leftovers")


def _word(kind: type[Word], text: str, place: str) -> Word:
    try:
        return kind(text)
    except ValueError as error:
        raise damaged(place, f"'{text}' is none of {', '.join(kind)}") from error


def _one_of(choices: tuple[str, ...], text: str, place: str) -> str:
    if text not in choices:
        raise damaged(place, f"'{text}' is none of {', '.join(choices)}")
    return text


def _unique(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    """Pairs as an object; their order is kept, a name given twice is a bug."""
    listed = tuple(pairs)
    document = dict(listed)
    assert len(document) == len(listed), "a name is given twice"
    return document


# --- assessment ---------------------------------------------------------------------------------


def assessment_json(assessment: Assessment) -> Mapping[str, Json]:
    """Fields of assessment.json. `grades`, `legitimate` and `recovery_point` repeat the tables in
    one place, for those who read the document; they are not read back."""
    tables = assessment.tables
    return {
        "verdict": assessment.verdict,
        "faults": [_fault_json(fault) for fault in assessment.faults],
        "none_of_these": assessment.none_of_these,
        "tables": [_depth_json(table) for table in tables],
        "grades": {
            "cells": _sums(pair for table in tables for pair in table.cells),
            "rows": _sums(pair for table in tables for pair in table.rows),
        },
        "legitimate": {
            "documented": sum(table.documented for table in tables),
            "undocumented": sum(table.undocumented for table in tables),
        },
        "questions": [_question_json(question) for question in assessment.questions],
        "recovery_point": {table.table: _moment(table) for table in tables},
        "assumptions": assessment.assumptions,
        "coverage": assessment.coverage,
        "does_not_prove": assessment.does_not_prove,
        "warnings": assessment.warnings,
        "cut_short": assessment.cut_short,
    }


def _sums(pairs: Iterable[tuple[Grade, int]]) -> Mapping[str, Json]:
    sums = {str(grade): 0 for grade in Grade}
    for grade, count in pairs:
        sums[grade] += count
    return dict(sums)


def _moment(table: TableDepth) -> str | None:
    return table.recovery_point.isoformat() if table.recovery_point else None


def _fault_json(fault: Fault) -> Mapping[str, Json]:
    return {
        "id": fault.id,
        "step": fault.step,
        "class": str(fault.fault_class),
        "parameters": _unique(fault.parameters),
        "probability": fault.probability,
        "evidence": fault.evidence,
        "statement": fault.statement,
        "cause": fault.cause,
        "accepted": fault.accepted,
        "cells": _unique((str(label), count) for label, count in fault.cells),
    }


def _depth_json(table: TableDepth) -> Mapping[str, Json]:
    return {
        "table": table.table,
        "cells": _unique((str(grade), count) for grade, count in table.cells),
        "rows": _unique((str(grade), count) for grade, count in table.rows),
        "labels": _unique((str(label), count) for label, count in table.labels),
        "legitimate": {"documented": table.documented, "undocumented": table.undocumented},
        "recovery_point": _moment(table),
    }


def _question_json(question: Question) -> Mapping[str, Json]:
    return {
        "id": question.id,
        "text": question.text,
        "alternatives": [
            {"text": one.text, "consequence": one.consequence, "rows": one.rows}
            for one in question.alternatives
        ],
        "rows": question.rows,
    }


def read_assessment(document: Reader) -> Assessment:
    place = document.place
    return Assessment(
        verdict=cast(AssessmentVerdict, _one_of(VERDICTS, document.text("verdict"), place)),
        faults=tuple(_fault(one) for one in document.many("faults")),
        tables=tuple(_depth(one) for one in document.many("tables")),
        questions=tuple(_question(one) for one in document.many("questions")),
        none_of_these=document.number("none_of_these"),
        assumptions=document.texts("assumptions"),
        coverage=document.texts("coverage"),
        does_not_prove=document.texts("does_not_prove"),
        warnings=document.texts("warnings"),
        cut_short=document.flag("cut_short"),
    )


def _counts(kind: type[Word], one: Reader, name: str) -> tuple[tuple[Word, int], ...]:
    place = f"{one.place}.{name}"
    return tuple((_word(kind, key, place), count) for key, count in one.counts(name))


def _fault(one: Reader) -> Fault:
    return Fault(
        id=one.text("id"),
        step=one.text("step"),
        fault_class=_word(FaultClass, one.text("class"), one.place),
        parameters=one.texts_by_name("parameters"),
        probability=one.number("probability"),
        evidence=one.texts("evidence"),
        statement=one.text("statement"),
        cause=cast(Cause, _one_of(CAUSES, one.text("cause"), one.place)),
        accepted=one.flag("accepted"),
        cells=_counts(Label, one, "cells"),
    )


def _depth(one: Reader) -> TableDepth:
    legitimate = one.one("legitimate")
    return TableDepth(
        table=one.text("table"),
        cells=_counts(Grade, one, "cells"),
        rows=_counts(Grade, one, "rows"),
        labels=_counts(Label, one, "labels"),
        documented=legitimate.whole("documented"),
        undocumented=legitimate.whole("undocumented"),
        recovery_point=one.moment_or_none("recovery_point"),
    )


def _question(one: Reader) -> Question:
    alternatives = tuple(
        Alternative(each.text("text"), each.text("consequence"), each.whole("rows"))
        for each in one.many("alternatives")
    )
    return Question(one.text("id"), one.text("text"), alternatives, one.whole("rows"))


# --- plan ---------------------------------------------------------------------------------------


def plan_json(plan: Plan) -> Mapping[str, Json]:
    """Fields of plan.json: groups in the order in which they are written."""
    return {
        "digest": plan.digest,
        "groups": [_group_json(group) for group in plan.groups],
        "refusals": [
            {
                "fault": refusal.fault,
                "table": refusal.table,
                "reason": refusal.reason,
                "cells": refusal.cells,
            }
            for refusal in plan.refusals
        ],
    }


def _group_json(group: Group) -> Mapping[str, Json]:
    operation = group.operation
    return {
        "id": group.id,
        "fault": group.fault,
        "kind": group.kind,
        "grade": str(group.grade),
        "operation": {
            "op": operation.op,
            "table": operation.table,
            "columns": operation.columns,
            "rows": operation.rows,
            "cells": operation.cells,
            "digest": operation.digest,
            "disabled_triggers": operation.disabled_triggers,
        },
        "hazards": [{"name": note.name, "detail": note.detail} for note in group.hazards],
        "why": group.why,
        "requires": group.requires,
    }


def read_plan(document: Reader) -> Plan:
    refusals = tuple(
        PlanRefusal(one.text("fault"), one.text("table"), one.text("reason"), one.whole("cells"))
        for one in document.many("refusals")
    )
    groups = tuple(_group(one) for one in document.many("groups"))
    return Plan(groups, refusals, document.text("digest"))


def _group(one: Reader) -> Group:
    return Group(
        id=one.text("id"),
        fault=one.text("fault"),
        kind=one.text("kind"),
        grade=_word(Grade, one.text("grade"), one.place),
        operation=_operation(one.one("operation")),
        hazards=tuple(
            HazardNote(note.text("name"), note.text("detail")) for note in one.many("hazards")
        ),
        why=one.text("why"),
        requires=one.texts("requires"),
    )


def _operation(one: Reader) -> OperationHead:
    op = _one_of(OPERATIONS, one.text("op"), one.place)
    return OperationHead(
        op=cast(Literal["set-cells", "insert-rows", "delete-rows"], op),
        table=one.text("table"),
        columns=one.texts("columns"),
        rows=one.whole("rows"),
        cells=one.whole("cells"),
        digest=one.text("digest"),
        disabled_triggers=one.texts("disabled_triggers"),
    )


# --- rehearsal, script --------------------------------------------------------------------------


def rehearsal_json(rehearsal: Rehearsal) -> Mapping[str, Json]:
    """Fields of rehearsal.json; `passed` is for those who read it, it is not read back."""
    return {
        "body_digest": rehearsal.body_digest,
        "proposal": rehearsal.proposal,
        "passed": rehearsal.passed,
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "detail": check.detail,
                "figures": _unique(check.figures),
            }
            for check in rehearsal.checks
        ],
    }


def read_rehearsal(document: Reader) -> Rehearsal:
    checks = tuple(
        Check(one.text("name"), one.flag("passed"), one.text("detail"), one.counts("figures"))
        for one in document.many("checks")
    )
    return Rehearsal(document.text("body_digest"), document.flag("proposal"), checks)


def script_json(script: Script) -> Mapping[str, Json]:
    """A script whole: header, body and the digest of the body."""
    return {"digest": script.digest, "header": script.header, "body": script.body}


def read_script(document: Reader) -> Script:
    return Script(document.text("body"), document.text("header"), document.text("digest"))


# --- ledger -------------------------------------------------------------------------------------


def ledger_json(ledger: Ledger) -> Mapping[str, Json]:
    """Fields of diff.json."""
    return {
        "verdict": str(ledger.verdict),
        "tables": [_table_json(table) for table in ledger.tables],
        "schema": [
            {"kind": one.kind, "name": one.name, "backup": one.backup, "current": one.current}
            for one in ledger.schema
        ],
    }


def _sides_json(sides: Sides) -> Mapping[str, Json]:
    return {"backup": sides.backup, "current": sides.current}


def _table_json(table: TableDiff) -> Mapping[str, Json]:
    return {
        "table": table.table,
        "key": table.key,
        "status": str(table.status),
        "why": table.why,
        "rows": _sides_json(table.rows),
        "same": table.same,
        "changed": table.changed,
        "missing": table.missing,
        "extra": table.extra,
        "unreadable": _sides_json(table.unreadable),
        "unknown": _sides_json(table.unknown),
        "cells": _unique(table.cells),
        "representation_only": table.representation_only,
        "duplicates": _sides_json(table.duplicates),
        "duplicates_scope": table.duplicates_scope,
    }


def read_ledger(document: Reader) -> Ledger:
    schema = tuple(
        SchemaDivergence(
            one.text("kind"), one.text("name"), one.text("backup"), one.text("current")
        )
        for one in document.many("schema")
    )
    return Ledger(tuple(_table(one) for one in document.many("tables")), schema)


def _sides(one: Reader, name: str) -> Sides:
    both = one.one(name)
    return Sides(both.whole("backup"), both.whole("current"))


def _table(one: Reader) -> TableDiff:
    scope = _one_of(SCOPES, one.text("duplicates_scope"), one.place)
    return TableDiff(
        table=one.text("table"),
        key=one.texts("key"),
        status=_word(Status, one.text("status"), one.place),
        why=one.text("why"),
        rows=_sides(one, "rows"),
        same=one.whole("same"),
        changed=one.whole("changed"),
        missing=one.whole("missing"),
        extra=one.whole("extra"),
        unreadable=_sides(one, "unreadable"),
        unknown=_sides(one, "unknown"),
        cells=one.counts("cells"),
        representation_only=one.whole("representation_only"),
        duplicates=_sides(one, "duplicates"),
        duplicates_scope=cast(Literal["all", "leftovers"], scope),
    )
