"""From graded damage to a plan: operations in groups a person can decide on, in an order that the
database accepts. Fills `staged`; decides nothing about values, localization has done that.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import duckdb

from diffing.model import Schema
from recovery.messages import counted, message
from recovery.model import (
    Assessment,
    Fault,
    FaultClass,
    Grade,
    Group,
    HazardNote,
    OperationHead,
    Plan,
    PlanRefusal,
)
from recovery.plan.catalog import Catalog
from recovery.plan.obstacles import CYCLE, edges, find_obstacles, leave_out
from repair_rules.model import (
    Damage,
    DeleteRows,
    InsertRows,
    Operation,
    Refusal,
    SetCells,
    Shape,
)
from repair_rules.registry import propose

# A cell that several faults account for is repaired once, for the one that wrote it.
_OPEN = """
CREATE OR REPLACE TEMP TABLE open AS
SELECT *, CASE WHEN "column" <> '' THEN 'cells' WHEN current IS NULL THEN 'rows-gone'
               ELSE 'rows-added' END AS shape
FROM damage WHERE fault <> ''
QUALIFY row_number() OVER (
    PARTITION BY "table", key, "column" ORDER BY label = 'collateral', fault) = 1
"""
_DAMAGES = """
SELECT fault, "table", shape, grade, CASE WHEN shape = 'cells'
           THEN list(DISTINCT "column" ORDER BY "column")
           ELSE json_keys(any_value(coalesce(target, current))) END AS columns,
       count(DISTINCT key), count(*)
FROM open GROUP BY fault, "table", shape, grade ORDER BY fault, "table", shape, grade
"""
_STAGE = """
INSERT INTO staged SELECT $draft, "table", key, "column", current, target FROM open
WHERE fault = $fault AND "table" = $table AND grade = $grade AND shape = $shape
  AND ("column" = '' OR list_contains($columns::VARCHAR[], "column"))
"""
_LEFT_OUT = """
SELECT p.draft, p.why, p.place, count(DISTINCT p.n), count(*) AS cells,
       (SELECT count(DISTINCT o.other) FROM obstacle o JOIN planned q ON q.n = o.n
        WHERE q.draft = p.draft AND o.why = p.why AND o.place = p.place) AS others
FROM planned p JOIN staged s ON s."group" = p.draft AND s.key = p.key
WHERE p.why <> '' GROUP BY ALL ORDER BY ALL
"""
_TAKE_OUT = """
DELETE FROM staged WHERE ("group", key) IN (SELECT (draft, key) FROM planned WHERE why <> '')
"""
_NAME = """
UPDATE damage SET "group" = $group WHERE fault = $fault
  AND ("table", key, "column") IN (SELECT ("table", key, "column") FROM staged
                                   WHERE "group" = $group)
"""
Op = Literal["set-cells", "insert-rows", "delete-rows"]
_EVENTS: Mapping[Op, Literal["insert", "update", "delete"]] = {
    "delete-rows": "delete",
    "insert-rows": "insert",
    "set-cells": "update",
}
_RANK: Mapping[Op, int] = {"delete-rows": 0, "insert-rows": 1, "set-cells": 2}


@dataclass(frozen=True, slots=True)
class _Draft:
    """A group on its way: the damage it repairs, and how it is written."""

    id: str
    damage: Damage
    operation: Operation

    @property
    def op(self) -> Op:
        match self.operation:
            case SetCells():
                return "set-cells"
            case InsertRows():
                return "insert-rows"
            case DeleteRows():
                return "delete-rows"


def make_plan(facts: duckdb.DuckDBPyConnection, assessment: Assessment, catalog: Catalog) -> Plan:
    """Fill `staged`, name each damaged cell's group, and return the plan.

    What cannot be written is refused by name and number; everything else is planned. The same
    damage and the same current state give the same bytes."""
    facts.execute("DELETE FROM staged")
    facts.execute("UPDATE damage SET \"group\" = ''")
    facts.execute(_OPEN)
    faults = {fault.id: fault for fault in assessment.faults}
    drafts: list[_Draft] = []
    refusals: list[PlanRefusal] = []
    for number, damage in enumerate(_damages(facts, faults), 1):
        operation = _proposed(damage, catalog)
        if isinstance(operation, Refusal):
            refusals.append(PlanRefusal(damage.fault, damage.table, operation.reason, damage.cells))
        else:
            drafts.append(_stage(facts, _Draft(f"D{number}", damage, operation)))
    find_obstacles(facts, catalog)
    ordered = _in_order(facts, drafts, catalog.schema)
    refusals += _left_out(facts, drafts)
    facts.execute(_TAKE_OUT)
    names = {draft.id: f"G{number}" for number, draft in enumerate(ordered, 1)}
    needs = edges(facts, ordered=False)
    groups = tuple(
        _group(
            facts,
            draft,
            catalog,
            faults[draft.damage.fault],
            names,
            tuple(names[other.id] for other in ordered if (draft.id, other.id) in needs),
        )
        for draft in ordered
    )
    return Plan(groups, tuple(refusals), _digest(groups, refusals))


def _damages(facts: duckdb.DuckDBPyConnection, faults: Mapping[str, Fault]) -> Iterable[Damage]:
    shapes: Mapping[str, Shape] = {
        "cells": "cells",
        "rows-gone": "rows-gone",
        "rows-added": "rows-added",
    }
    for fault, table, shape, grade, columns, rows, cells in facts.execute(_DAMAGES).fetchall():
        yield Damage(
            str(fault),
            str(faults[fault].fault_class),
            str(table),
            shapes[shape],
            str(grade),
            tuple(str(column) for column in columns or ()),
            int(rows),
            int(cells),
        )


def _proposed(damage: Damage, catalog: Catalog) -> Operation | Refusal:
    if damage.grade == Grade.UNDECIDED:
        return Refusal("a person has to choose: nothing in the data tells what the value should be")
    if damage.grade == Grade.LOST:
        return Refusal("nothing holds the value")
    if not catalog.schema.has(damage.table):
        return Refusal("the current database has no such table")
    _, proposal = propose(damage, catalog)
    if isinstance(proposal, Refusal):
        return proposal
    (operation,) = proposal
    return operation


def _stage(facts: duckdb.DuckDBPyConnection, draft: _Draft) -> _Draft:
    damage, operation = draft.damage, draft.operation
    columns = operation.columns if isinstance(operation, SetCells) else ()
    facts.execute(
        _STAGE,
        {
            "draft": draft.id,
            "fault": damage.fault,
            "table": damage.table,
            "grade": damage.grade,
            "shape": damage.shape,
            "columns": list(columns),
        },
    )
    return draft


def _in_order(
    facts: duckdb.DuckDBPyConnection, drafts: Sequence[_Draft], schema: Schema
) -> tuple[_Draft, ...]:
    """Deletes child first, inserts parent first, cells last, as the rows ask for. Groups that
    would have to be written before each other are left out, with what needs them."""
    depth = _depths(schema)

    def place(draft: _Draft) -> tuple[int, int, str, str, str]:
        deep = depth[draft.damage.table]
        going = draft.op == "delete-rows"
        damage = draft.damage
        return (_RANK[draft.op], -deep if going else deep, damage.table, damage.fault, draft.id)

    while True:
        rows = facts.execute("SELECT DISTINCT draft FROM planned WHERE why = ''").fetchall()
        alive = {str(draft) for (draft,) in rows}
        waiting = sorted((draft for draft in drafts if draft.id in alive), key=place)
        graph: dict[str, set[str]] = {draft.id: set() for draft in waiting}
        for one, other in edges(facts, ordered=True):
            graph[one].add(other)
        sorter = TopologicalSorter(graph)
        try:
            sorter.prepare()
        except CycleError as error:
            leave_out(facts, tuple(error.args[1]), CYCLE)
            continue
        ordered: list[_Draft] = []
        ready: set[str] = set()
        while sorter.is_active():
            ready.update(sorter.get_ready())
            first = next(draft for draft in waiting if draft.id in ready)
            ready.remove(first.id)
            sorter.done(first.id)
            ordered.append(first)
        return tuple(ordered)


def _depths(schema: Schema) -> Mapping[str, int]:
    """Parents before children; where foreign keys form a cycle, any order does: rows decide."""
    graph: dict[str, set[str]] = {table.name: set() for table in schema.tables}
    for key in schema.foreign_keys:
        if key.parent != key.table and key.table in graph:
            graph[key.table].add(key.parent)
    while True:
        try:
            return {
                name: place for place, name in enumerate(TopologicalSorter(graph).static_order())
            }
        except CycleError as error:
            for name in error.args[1]:
                graph[name] -= set(error.args[1])


def _left_out(facts: duckdb.DuckDBPyConnection, drafts: Sequence[_Draft]) -> Iterable[PlanRefusal]:
    known = {draft.id: draft.damage for draft in drafts}
    for draft, why, place, rows, cells, others in facts.execute(_LEFT_OUT).fetchall():
        damage = known[str(draft)]
        reason = _reason(str(why), str(place), int(rows), int(others))
        yield PlanRefusal(damage.fault, damage.table, reason, int(cells))


def _reason(why: str, place: str, rows: int, others: int) -> str:
    match why:
        case "referred":
            return counted(
                "{n} row that stays refers to what would go: {place}",
                "{n} rows that stay refer to what would go: {place}",
                others,
                place=place,
            )
        case "parentless":
            return counted(
                "{n} row would refer to a row that is not there: {place}",
                "{n} rows would refer to rows that are not there: {place}",
                rows,
                place=place,
            )
        case "taken":
            return counted(
                "{n} row would get a value that another row has now: {place}",
                "{n} rows would get values that other rows have now: {place}",
                rows,
                place=place,
            )
        case "needed":
            return counted(
                "{n} row needs others that are not repaired: {place}",
                "{n} rows need others that are not repaired: {place}",
                rows,
                place=place,
            )
        case _:
            return (
                "its foreign keys form a cycle that cannot be deferred: no order of writing is safe"
            )


def _group(
    facts: duckdb.DuckDBPyConnection,
    draft: _Draft,
    catalog: Catalog,
    fault: Fault,
    names: Mapping[str, str],
    requires: tuple[str, ...],
) -> Group:
    name = names[draft.id]
    facts.execute('UPDATE staged SET "group" = ? WHERE "group" = ?', [name, draft.id])
    facts.execute(_NAME, {"group": name, "fault": fault.id})
    rows, cells, digest = _contents(facts, name)
    # Asked again with what is left: hazards speak of what is written.
    damage = replace(draft.damage, rows=rows, cells=cells)
    kind, proposal = propose(damage, catalog)
    assert not isinstance(proposal, Refusal)
    (operation,) = proposal
    head = OperationHead(
        draft.op,
        damage.table,
        _written(facts, name, draft, catalog),
        rows,
        cells,
        digest,
        catalog.triggers(damage.table, _EVENTS[draft.op]),
    )
    return Group(
        name,
        fault.id,
        kind,
        Grade(damage.grade),
        head,
        tuple(HazardNote(str(hazard), detail) for hazard, detail in operation.hazards),
        _why(fault),
        requires,
    )


def _written(
    facts: duckdb.DuckDBPyConnection, group: str, draft: _Draft, catalog: Catalog
) -> tuple[str, ...]:
    table = catalog.schema.table(draft.damage.table)
    match draft.op:
        case "set-cells":
            rows = facts.execute(
                'SELECT DISTINCT "column" FROM staged WHERE "group" = ? ORDER BY 1', [group]
            ).fetchall()
            return tuple(str(column) for (column,) in rows)
        case "insert-rows":
            given = set(draft.damage.columns)
            return tuple(
                column.name
                for column in table.columns
                if not column.generated and column.name in given
            )
        case "delete-rows":
            return ()


def _contents(facts: duckdb.DuckDBPyConnection, group: str) -> tuple[int, int, str]:
    """Rows, cells, and the digest of what is staged for the group."""
    digest = hashlib.sha256()
    staged = facts.execute(
        'SELECT key, "column", seen, target FROM staged WHERE "group" = ? ORDER BY key, "column"',
        [group],
    )
    cells, keys, last = 0, 0, None
    while rows := staged.fetchmany(10_000):
        for row in rows:
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            cells += 1
            keys += row[0] != last
            last = row[0]
    return keys, cells, digest.hexdigest()


def _why(fault: Fault) -> str:
    match fault.fault_class:
        case FaultClass.MISSING_WHERE:
            return message("Step {step} ran without its condition", step=fault.step)
        case FaultClass.WRONG_VALUE:
            return message("Step {step} ran with another value than written down", step=fault.step)
        case FaultClass.AS_DESCRIBED:
            return message("Step {step} should not have been done", step=fault.step)
        case named if fault.step:
            return message("Step {step}: {fault_class}", step=fault.step, fault_class=str(named))
        case named:
            return message("In no step: {fault_class}", fault_class=str(named))


def _digest(groups: Sequence[Group], refusals: Sequence[PlanRefusal]) -> str:
    return hashlib.sha256(repr((tuple(groups), tuple(refusals))).encode()).hexdigest()
