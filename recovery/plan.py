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

_DAMAGES = """
SELECT fault, "table", CASE WHEN "column" <> '' THEN 'cells'
           WHEN current IS NULL THEN 'rows-gone' ELSE 'rows-added' END AS shape, grade,
       list(DISTINCT "column" ORDER BY "column") AS columns, count(DISTINCT key), count(*)
FROM damage WHERE fault <> ''
GROUP BY ALL ORDER BY fault, "table", shape, grade
"""
_WHOLE_ROW = {
    "cells": "",
    "rows-gone": " AND current IS NULL",
    "rows-added": " AND current IS NOT NULL",
}
_RANK: Mapping[str, int] = {"delete-rows": 0, "insert-rows": 1, "set-cells": 2}


@dataclass(frozen=True, slots=True)
class Catalog:
    """What kinds may ask about the current state (`repair_rules.model.Facts`)."""

    schema: Schema
    row_counts: Mapping[str, int]
    differing: frozenset[str]

    def has_key(self, table: str) -> bool:
        return bool(self.schema.table(table).key.columns)

    def schema_differs(self, table: str) -> bool:
        return table in self.differing

    def triggers(self, table: str, event: Literal["insert", "update", "delete"]) -> tuple[str, ...]:
        return tuple(
            trigger.name
            for trigger in self.schema.triggers
            if trigger.table == table and event in trigger.events and trigger.enabled
        )

    def children(self, table: str) -> tuple[str, ...]:
        return tuple(key.table for key in self.schema.foreign_keys if key.parent == table)

    def generated(self, table: str) -> frozenset[str]:
        columns = self.schema.table(table).columns
        return frozenset(column.name for column in columns if column.generated)

    def rows(self, table: str) -> int:
        return self.row_counts.get(table, 0)


def make_plan(facts: duckdb.DuckDBPyConnection, assessment: Assessment, catalog: Catalog) -> Plan:
    """Fill `staged`, name each damaged cell's group, and return the plan."""
    facts.execute("DELETE FROM staged")
    facts.execute("UPDATE damage SET \"group\" = ''")
    faults = {fault.id: fault for fault in assessment.faults}
    drafts: list[Group] = []
    refusals: list[PlanRefusal] = []
    for damage in _damages(facts, faults):
        draft = _draft(damage, catalog)
        if isinstance(draft, Group):
            drafts.append(draft)
        else:
            refusals.append(draft)
    ordered, cyclic = _in_order(drafts, catalog.schema)
    refusals += [
        PlanRefusal(
            group.fault,
            group.operation.table,
            "its foreign keys form a cycle that cannot be deferred: no order of writing is safe",
            group.operation.cells,
        )
        for group in cyclic
    ]
    groups = [
        _staged(facts, replace(group, id=f"G{number}"), faults[group.fault])
        for number, group in enumerate(ordered, 1)
    ]
    linked = tuple(
        replace(group, requires=_requires(group, groups, catalog.schema)) for group in groups
    )
    return Plan(linked, tuple(refusals), _digest(linked, refusals))


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
            tuple(str(column) for column in columns if column),
            int(rows),
            int(cells),
        )


def _draft(damage: Damage, catalog: Catalog) -> Group | PlanRefusal:
    def refused(reason: str) -> PlanRefusal:
        return PlanRefusal(damage.fault, damage.table, reason, damage.cells)

    if damage.grade == Grade.UNDECIDED:
        return refused("a person has to choose: nothing in the data tells what the value should be")
    if damage.grade == Grade.LOST:
        return refused("nothing holds the value")
    if not catalog.schema.has(damage.table):
        return refused("the current database has no such table")
    kind, proposal = propose(damage, catalog)
    if isinstance(proposal, Refusal):
        return refused(proposal.reason)
    (operation,) = proposal
    return Group(
        "",
        damage.fault,
        kind,
        Grade(damage.grade),
        _head(operation, damage, catalog),
        tuple(HazardNote(str(hazard), detail) for hazard, detail in operation.hazards),
        "",
    )


def _head(operation: Operation, damage: Damage, catalog: Catalog) -> OperationHead:
    table = catalog.schema.table(damage.table)
    match operation:
        case SetCells(columns=columns):
            return OperationHead(
                "set-cells",
                table.name,
                columns,
                damage.rows,
                damage.cells,
                "",
                catalog.triggers(table.name, "update"),
            )
        case InsertRows():
            written = tuple(column.name for column in table.columns if not column.generated)
            return OperationHead(
                "insert-rows",
                table.name,
                written,
                damage.rows,
                damage.cells,
                "",
                catalog.triggers(table.name, "insert"),
            )
        case DeleteRows():
            return OperationHead(
                "delete-rows",
                table.name,
                (),
                damage.rows,
                damage.cells,
                "",
                catalog.triggers(table.name, "delete"),
            )


def _in_order(
    groups: Sequence[Group], schema: Schema
) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Deletes child first, inserts parent first, cells last; groups on tables whose foreign keys
    form a cycle are set apart when they add or delete rows of more than one of them."""
    moving = {group.operation.table for group in groups if group.operation.op != "set-cells"}
    graph: dict[str, set[str]] = {table.name: set() for table in schema.tables}
    for key in schema.foreign_keys:
        if key.parent != key.table and not key.deferrable and key.table in graph:
            graph[key.table].add(key.parent)
    cyclic: set[str] = set()
    while True:
        try:
            order = {
                name: place for place, name in enumerate(TopologicalSorter(graph).static_order())
            }
            break
        except CycleError as error:
            cycle: Sequence[str] = error.args[1]
            if len(moving & set(cycle)) > 1:
                cyclic |= moving & set(cycle)
            for name in cycle:
                graph[name] -= set(cycle)

    def place(group: Group) -> tuple[int, int, str, str]:
        table = group.operation.table
        deep = order[table]
        return (
            _RANK[group.operation.op],
            -deep if group.operation.op == "delete-rows" else deep,
            group.fault,
            str(group.grade),
        )

    kept = [
        group
        for group in groups
        if group.operation.op == "set-cells" or group.operation.table not in cyclic
    ]
    dropped = [group for group in groups if group not in kept]
    return tuple(sorted(kept, key=place)), tuple(dropped)


def _requires(group: Group, groups: Sequence[Group], schema: Schema) -> tuple[str, ...]:
    """A child's rows need the parent's rows; a parent's rows go only after the child's."""
    needed = []
    for key in schema.foreign_keys:
        for other in groups:
            if other.id == group.id or other.operation.op != group.operation.op:
                continue
            mine, theirs = group.operation.table, other.operation.table
            inserts = group.operation.op == "insert-rows" and (mine, theirs) == (
                key.table,
                key.parent,
            )
            deletes = group.operation.op == "delete-rows" and (mine, theirs) == (
                key.parent,
                key.table,
            )
            if inserts or deletes:
                needed.append(other.id)
    return tuple(dict.fromkeys(needed))


def _staged(facts: duckdb.DuckDBPyConnection, group: Group, fault: Fault) -> Group:
    head = group.operation
    shape = {"set-cells": "cells", "insert-rows": "rows-gone", "delete-rows": "rows-added"}[head.op]
    chosen = (
        'fault = $fault AND "table" = $table AND grade = $grade AND ("column" <> \'\') = $cells'
    )
    chosen += _WHOLE_ROW[shape]
    if head.op == "set-cells":
        chosen += ' AND list_contains($columns::VARCHAR[], "column")'
    given: dict[str, object] = {
        "group": group.id,
        "fault": group.fault,
        "table": head.table,
        "grade": str(group.grade),
        "cells": head.op == "set-cells",
    }
    if head.op == "set-cells":
        given["columns"] = list(head.columns)
    facts.execute(f'UPDATE damage SET "group" = $group WHERE {chosen}', given)
    facts.execute(
        'INSERT INTO staged SELECT "group", "table", key, "column", current, target'
        ' FROM damage WHERE "group" = ?',
        [group.id],
    )
    digest = hashlib.sha256()
    counted = facts.execute(
        'SELECT key, "column", seen, target FROM staged WHERE "group" = ? ORDER BY key, "column"',
        [group.id],
    )
    cells, keys, last = 0, 0, None
    while rows := counted.fetchmany(10_000):
        for row in rows:
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            cells += 1
            keys += row[0] != last
            last = row[0]
    head = replace(head, rows=keys, cells=cells, digest=digest.hexdigest())
    return replace(group, operation=head, why=_why(fault, head))


def _why(fault: Fault, head: OperationHead) -> str:
    reason = {
        FaultClass.MISSING_WHERE: f"step {fault.step} ran without its condition",
        FaultClass.WRONG_VALUE: f"step {fault.step} ran with another value than written down",
        FaultClass.AS_DESCRIBED: f"step {fault.step} should not have been done",
    }[fault.fault_class]
    deed = {
        "set-cells": f"{head.cells} cells go to what they should be",
        "insert-rows": f"{head.rows} rows come back",
        "delete-rows": f"{head.rows} rows it added go",
    }[head.op]
    return f"{reason}; {deed}"


def _digest(groups: Sequence[Group], refusals: Sequence[PlanRefusal]) -> str:
    return hashlib.sha256(repr((tuple(groups), tuple(refusals))).encode()).hexdigest()
