"""A hand-made schema and damage for the planner, and a current state that is a list of rows."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from diffing.model import Column, Constraint, ForeignKey, Key, Schema, Table, Trigger
from recovery.case.facts import open_facts
from recovery.model import Assessment, Fault, FaultClass
from recovery.plan import Catalog, Held, make_plan

CLASSES = {"F1": FaultClass.MISSING_WHERE, "F2": FaultClass.WRONG_VALUE}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def key(number):
    return compact({"id": str(number)})


def table(name, *columns, key=("id",)):
    """Columns are names, or whole Columns."""
    made = tuple(one if isinstance(one, Column) else Column(one, "text", "text") for one in columns)
    ident = () if "id" not in key else (Column("id", "integer", "text", not_null=True),)
    return Table("public", name, (*ident, *made), Key(key, "primary" if key else "none"))


def refers(child, column, parent, *, on_delete="no action", deferrable=False):
    return ForeignKey(
        f"{child}_{column}", f"public.{child}", (column,), f"public.{parent}", ("id",),
        on_delete, "no action", deferrable,
    )  # fmt: skip


def unique(name, column):
    return Constraint(f"{name}_{column}", f"public.{name}", "unique", (column,), "UNIQUE")


def trigger(name, table, *events):
    return Trigger(name, f"public.{table}", "f()", "", frozenset(events), True)


@dataclass
class Rows:
    """Rows of the current state by table, found by the same text."""

    tables: dict[str, list[dict[str, str | None]]] = field(default_factory=dict)

    def holding(self, table, columns, types, asked):
        for number, values in asked:
            for row in self.tables.get(table.name, []):
                if tuple(row[name] for name in columns) == tuple(values):
                    ident = {name: row[name] for name in table.key.columns}
                    yield Held(number, compact(ident) if ident else "")


@dataclass
class Bench:
    schema: Schema
    current: Rows = field(default_factory=Rows)
    damage: list[tuple[object, ...]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    differing: frozenset[str] = frozenset()

    def there(self, name, *rows):
        self.current.tables.setdefault(f"public.{name}", []).extend(rows)
        return self

    def cell(
        self, name, number, column, seen, target, *, grade="proven", fault="F1", label="direct"
    ):
        self._add(name, number, column, label, fault, seen, target, grade)
        return self

    def gone(self, name, row, *, grade="proven", fault="F1", label="direct"):
        self._add(name, row.get("id"), "", label, fault, None, compact(row), grade)
        return self

    def added(self, name, row, *, grade="proven", fault="F1", label="direct"):
        """The fault added it, and it is there."""
        self.there(name, row)
        self._add(name, row.get("id"), "", label, fault, compact(row), None, grade)
        return self

    def _add(self, name, number, column, label, fault, current, target, grade):
        self.damage.append((
            f"public.{name}", key(number), column, label, fault, "7", "user",
            target, target, current, target, grade, "",
        ))  # fmt: skip

    def facts(self):
        facts = open_facts(Path(":memory:"))
        for row in self.damage:
            facts.execute(f"INSERT INTO damage VALUES ({', '.join('?' * 13)})", row)
        return facts

    def plan(self, facts=None):
        faults = tuple(
            Fault(name, "7", kind, (), 0.9, (), "UPDATE t") for name, kind in CLASSES.items()
        )
        assessment = Assessment("damaged", faults, (), (), 0.1, (), (), ())
        catalog = Catalog(self.schema, self.counts, self.differing, self.current)
        return make_plan(facts or self.facts(), assessment, catalog)


def written(plan):
    """What is written in which order: (group, operation, table, rows)."""
    return [(g.id, g.operation.op, g.operation.table, g.operation.rows) for g in plan.groups]


def refused(plan):
    from recovery.messages import show

    return [(one.table, one.cells, show(one.reason, "en")) for one in plan.refusals]
