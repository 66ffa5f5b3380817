"""Undocumented work just before a fault, to see whether the fault tells anything of what was there
before."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.history import History
from benchmarks.lives import Act
from recovery.demo.twin import Row, State, TableShape, differences

_KEYS_MAX = 3_000  # beyond that all rows are edited


@dataclass(slots=True)
class _Struck:
    """What is to be edited in one table."""

    columns: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    gone: bool = False  # rows went away


def with_probe(history: History, acts: Sequence[Act], texts: Sequence[str]) -> list[Act]:
    """The acts with undocumented work just before the first fault."""
    first = min(fault.place for fault in history.faults)
    of = {one.id: one for one in history.happenings}
    slot = max(one.slot for one in history.happenings) + 10
    placed = [(of[act.id], act) for act in acts]
    before = [act for one, act in placed if max(one.place, one.ran_place) < first]
    after = [act for one, act in placed if max(one.place, one.ran_place) >= first]
    moment = after[0].at if after else acts[-1].at
    probe = [Act(f"probe{n}", moment, text, slot) for n, text in enumerate(texts)]
    return [*before, *probe, *after]


def probes(
    history: History, tables: Sequence[TableShape], intended: State, actual: State
) -> list[list[str]]:
    """Ways to have edited every damaged row before the fault: its struck columns to other values,
    and by one unit of the last place up and down. What the fault struck through others (totals kept
    by triggers, children) is edited in a life of its own: both at once could hide each other."""
    direct = {table for fault in history.faults for table in fault.strike.tables}
    edits = [
        (shape, column, struck.keys)
        for shape in tables
        for struck in [_struck(history, shape, intended[shape.name], actual[shape.name])]
        for column in sorted(struck.columns)
    ]
    found = [
        [_edit(shape, column, keys, way) for shape, column, keys in edits
         if (shape.name in direct) == own]
        for way, own in (("far", True), ("up", True), ("down", True), ("far", False))
    ]  # fmt: skip
    return [texts for texts in found if texts]


def _struck(
    history: History, shape: TableShape, good: dict[str, Row], bad: dict[str, Row]
) -> _Struck:
    struck = _Struck()
    for key in good.keys() | bad.keys():
        for column, _ in differences(shape, good.get(key), bad.get(key)):
            struck.keys.add(key)
            if column:
                struck.columns.add(column)
            struck.gone = struck.gone or key not in bad
    if struck.gone:
        texts = [f"{one.intended} {one.executed}" for one in history.happenings if one.fault]
        plain = {name for at, name in enumerate(shape.columns) if at not in shape.key}
        # An edit of a column that the fault chose its rows by, itself or through a reference,
        # would make it choose others.
        named = {
            name
            for name in plain
            if name.lower().endswith("id") or any(_names(name, text) for text in texts)
        }
        struck.columns |= (plain - named) or plain
    return struck


def _names(column: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(column)}\b", text) is not None


def _edit(shape: TableShape, column: str, keys: set[str], way: str) -> str:
    """An edit of a column, whatever its type; nothing where no edit is allowed."""
    schema, relation = shape.name.split(".", 1)
    table, name = f'"{schema}"."{relation}"', _quoted(column)
    where = _among(shape, keys)
    unit = f"(10.0 ^ (-scale(t.{name}::text::numeric)))::numeric"
    ways = {
        "up": (f"t.{name} + {unit}", f"left(t.{name}, -1) || 'ж'"),
        "down": (f"t.{name} - {unit}", f"'0' || t.{name}"),
        "far": (
            f"COALESCE(t.{name}, 0) + 37",
            f"COALESCE(t.{name}, '2000-01-01') + interval '37 minutes'",
            f"COALESCE(t.{name}, '2000-01-01') + 37",
            f"left(COALESCE(t.{name}, ''), 3) || '~'",
        ),
    }
    tries = [f"UPDATE {table} t SET {name} = {value} WHERE {where}" for value in ways[way]]
    if way == "far":
        tries.append(
            f"UPDATE {table} t SET {name} = n.b FROM (SELECT {name} AS a,"
            f" COALESCE(lead({name}) OVER w, first_value({name}) OVER w) AS b"
            f" FROM (SELECT DISTINCT {name} FROM {table}) d WINDOW w AS (ORDER BY {name})) n"
            f" WHERE t.{name} = n.a AND {where}"
        )
    text = "NULL;"
    for statement in reversed(tries):
        text = f"BEGIN {statement}; EXCEPTION WHEN OTHERS THEN {text} END;"
    return f"DO $probe$ BEGIN {text} END $probe$"


def _among(shape: TableShape, keys: set[str]) -> str:
    """A condition for these rows."""
    if len(keys) > _KEYS_MAX:
        return "true"
    names = [shape.columns[at] for at in shape.key]
    columns = ", ".join(f"t.{_quoted(name)}::text" for name in names)
    rows = []
    for key in sorted(keys):
        values = json.loads(key)
        texts = ", ".join("'" + str(values[name]).replace("'", "''") + "'" for name in names)
        rows.append(f"({texts})")
    return f"({columns}) IN ({', '.join(rows)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
