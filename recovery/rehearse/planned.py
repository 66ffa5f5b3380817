"""What was really written against what was planned, row by row and column by column."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import duckdb

from recovery.model import Group
from recovery.rehearse.reader import Change, Relation

Row = dict[str, str | None]


@dataclass(slots=True)
class Planned:
    """What the plan says about one row."""

    cells: dict[str, str | None] = field(default_factory=dict)
    inserted: Row | None = None
    deleted: Row | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Figures of one table. `reached`: planned cells, new rows and deletions that came true."""

    reached: int = 0
    residual: int = 0
    collateral: int = 0
    example: str = ""

    def plus(self, other: "Judged") -> "Judged":
        return Judged(
            self.reached + other.reached,
            self.residual + other.residual,
            self.collateral + other.collateral,
            self.example or other.example,
        )


def planned_rows(
    groups: Iterable[Group], facts: duckdb.DuckDBPyConnection, table: str
) -> tuple[dict[str, Planned], Counter[str], Counter[str]]:
    """Planned rows by key; and of rows without key, those to come and those to go."""
    keyed: dict[str, Planned] = {}
    to_come: Counter[str] = Counter()
    to_go: Counter[str] = Counter()
    for group in groups:
        if group.operation.table != table:
            continue
        cursor = facts.cursor().execute(
            'SELECT key, "column", seen, target FROM staged WHERE "group" = ?', [group.id]
        )
        while batch := cast(
            "list[tuple[str, str, str | None, str | None]]", cursor.fetchmany(10_000)
        ):
            for key, column, seen, target in batch:
                if column:
                    keyed.setdefault(key, Planned()).cells[column] = target
                elif key.startswith('{"#row":'):
                    (to_go if target is None else to_come)[str(seen or target)] += 1
                elif target is not None:
                    keyed.setdefault(key, Planned()).inserted = json.loads(target)
                else:
                    keyed.setdefault(key, Planned()).deleted = json.loads(seen or "{}")
    return keyed, to_come, to_go


def judge(
    found: Iterable[Change],
    plan: tuple[dict[str, Planned], Counter[str], Counter[str]],
    relation: Relation,
) -> Judged:
    """Residual: planned and not so; collateral: written and not planned."""
    keyed, to_come, to_go = plan
    gone: list[Row] = []
    came: list[Row] = []
    for change in found:
        gone.extend(change.gone)
        came.extend(change.came)
    if to_come or to_go:
        return _judge_copies(gone, came, to_come, to_go, relation)
    if not keyed:
        return Judged(collateral=len(gone) + len(came), example=relation.root)
    names = tuple(json.loads(next(iter(keyed))))
    old = {_key(row, names, relation): row for row in gone}
    new = {_key(row, names, relation): row for row in came}
    # Rows of one key on the same side would hide each other.
    total = Judged(collateral=len(gone) - len(old) + len(came) - len(new))
    for key, planned in keyed.items():
        total = total.plus(
            _judge_row(key, planned, old.pop(key, None), new.pop(key, None), relation)
        )
    for key in (*old, *(key for key in new if key not in old)):
        total = total.plus(Judged(collateral=1, example=relation.root + " " + key))
    return total


def _judge_row(
    key: str, planned: Planned, old: Row | None, new: Row | None, relation: Relation
) -> Judged:
    where = relation.root + " " + key
    if planned.cells:
        if old is None or new is None:
            return Judged(residual=len(planned.cells), example=where)
        right = sum(new.get(name, "") == text for name, text in planned.cells.items())
        others = sum(
            new.get(name) != text
            for name, text in old.items()
            if name not in planned.cells and name not in relation.generated
        )
        wrong = len(planned.cells) - right
        return Judged(right, wrong, others, where if wrong or others else "")
    if planned.inserted is not None:
        if new is None:
            return Judged(residual=1, example=where)
        right = old is None and _same(new, planned.inserted, relation)
    else:
        right = new is None and old is not None
    return Judged(reached=1) if right else Judged(residual=1, example=where)


def _same(row: Row, wanted: Row, relation: Relation) -> bool:
    return all(
        row.get(name, "") == text for name, text in wanted.items() if name not in relation.generated
    )


def _judge_copies(
    gone: list[Row],
    came: list[Row],
    to_come: Counter[str],
    to_go: Counter[str],
    relation: Relation,
) -> Judged:
    wanted, found = Counter[str](), Counter[str]()
    for sign, texts, rows in (("-", to_go, gone), ("+", to_come, came)):
        for text, copies in texts.items():
            wanted[sign + _canonical(json.loads(text), relation)] += copies
        for row in rows:
            found[sign + _canonical(row, relation)] += 1
    missing, extra = wanted - found, found - wanted
    example = next(iter(missing), next(iter(extra), ""))
    return Judged((wanted & found).total(), missing.total(), extra.total(), example)


def _canonical(row: Row, relation: Relation) -> str:
    kept = {name: text for name, text in row.items() if name not in relation.generated}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)


def _key(row: Row, names: tuple[str, ...], relation: Relation) -> str:
    values = {name: _trimmed(row.get(name), name in relation.numeric) for name in names}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _trimmed(text: str | None, numeric: bool) -> str | None:
    if text is None or not numeric or "." not in text:
        return text
    return text.rstrip("0").rstrip(".")
