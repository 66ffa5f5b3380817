"""What histories leave, by simply running them: statements sent to a plain database, tables read.
Imports nothing of the product, and says once more in its own words what the product promises.

The clock is a function that stands before the real one in the search path and reads a setting. Of
numbers from sequences the promise is: what a step issued in the base it issues again wherever that
still goes, and what was issued once is not issued twice. What does not go that way takes none.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg

from tests.any_schema import Made
from tests.histories import Steps

Row = dict[str, str | None]
Rows = dict[str, Row]  # by key
Cell = tuple[str, str, str, str | None, str | None]  # table, key, column, base, value

_CLOCK = """
CREATE SCHEMA clock;
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN pg_catalog.current_setting('clock.now')::timestamptz;
SELECT pg_catalog.set_config('clock.now', '2026-01-01 00:00+00', false);
SET search_path = clock, pg_catalog, public;
SET TimeZone = 'UTC';
"""
_SEQUENCES = "SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences"
_PINNED = """
SELECT d.objid::regclass::text FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
JOIN pg_index i ON i.indrelid = d.refobjid AND i.indisprimary AND d.refobjsubid = ANY (i.indkey)
WHERE s.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass
"""
_LATE = """
SELECT coalesce(string_agg(DISTINCT format('%I', conname), ', '), '')
FROM pg_constraint WHERE condeferred
"""


@dataclass(frozen=True, slots=True)
class Left:
    """What a history left: keyed tables by key, the others as counts of rows. `failed` are the
    steps that were refused."""

    tables: Mapping[str, Rows]
    bags: Mapping[str, Counter[str]]
    failed: frozenset[str]


Issued = dict[tuple[str, tuple[str, ...]], dict[str, int]]


@dataclass
class PlainRuns:
    """A database made by a schema, for histories; each is taken back."""

    connection: psycopg.Connection[tuple[object, ...]]
    made: Made
    start: datetime
    _sequences: tuple[str, ...] = ()  # those that feed keys
    _all: tuple[str, ...] = ()
    _late: str = ""
    _queries: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connection.execute(_CLOCK)
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS public")
        path = "SET search_path = public, clock, pg_catalog"
        self.connection.execute(path.encode())
        # New things go to the first schema, and the clock has to stand before the real one.
        self.connection.execute(self.made.text.encode())
        self.connection.execute("SET search_path = clock, pg_catalog, public")
        self._sequences = self._names(_PINNED)
        self._all = self._names(_SEQUENCES)
        (late,) = self.connection.execute(_LATE).fetchone() or ("",)
        self._late = str(late)
        self._begin = self._positions(self._all)

    def _names(self, query: str) -> tuple[str, ...]:
        return tuple(str(name) for (name,) in self.connection.execute(query.encode()).fetchall())

    def run(self, steps: Steps, issued: Issued, *, learn: bool) -> Left:
        """`issued` is what the base issued: filled when `learn`."""
        failed = set()
        self._set(self._begin)
        with self.connection.transaction(force_rollback=True):
            for step in steps:
                now = self.start + timedelta(minutes=step.minute)
                self.connection.execute(
                    "SELECT set_config('clock.now', %s, false)", (now.isoformat(),)
                )
                batches = [step.statements]
                if step.shape == "each":
                    batches = [(text,) for text in step.statements]
                for number, batch in enumerate(batches):
                    name = (f"{step.id}/{number}", batch)
                    if not self._batch(name, batch, issued, learn=learn):
                        failed.add(step.id)
                        break
            return self._read(frozenset(failed))

    def _batch(
        self,
        name: tuple[str, tuple[str, ...]],
        batch: Iterable[str],
        issued: Issued,
        *,
        learn: bool,
    ) -> bool:
        start = self._positions()
        everything = self._positions(self._all)
        known = issued.get(name)
        for begun in ([{**start, **known}] if known else []) + [start]:
            self._set({**everything, **begun})
            try:
                with self.connection.transaction():
                    for text in batch:
                        self.connection.execute(text.encode())
                    if self._late:
                        self.connection.execute(f"SET CONSTRAINTS {self._late} IMMEDIATE".encode())
            except psycopg.Error:
                continue
            if self._late:
                self.connection.execute(f"SET CONSTRAINTS {self._late} DEFERRED".encode())
            now = self._positions()
            if learn:
                issued[name] = {one: begun[one] for one in now if now[one] != begun[one]}
            self._set({one: max(now[one], start[one]) for one in now})
            return True
        self._set(start)
        return False

    def _positions(self, names: tuple[str, ...] | None = None) -> dict[str, int]:
        names = self._sequences if names is None else names
        if not names:
            return {}
        each = (f"SELECT '{name}', last_value + is_called::int FROM {name}" for name in names)
        rows = self.connection.execute(" UNION ALL ".join(each).encode()).fetchall()
        return {str(name): int(str(value)) for name, value in rows}

    def _set(self, positions: Mapping[str, int]) -> None:
        for name, value in positions.items():
            self.connection.execute("SELECT setval(%s, %s, false)", (name, value))

    def _read(self, failed: frozenset[str]) -> Left:
        tables: dict[str, Rows] = {}
        bags: dict[str, Counter[str]] = {}
        for table in self.made.tables:
            names = [col.name for col in table.cols]
            shown = ", ".join(f"CASE WHEN {n} IS NOT NULL THEN concat({n}) END" for n in names)
            found = self.connection.execute(f"SELECT {shown} FROM {table.name}".encode()).fetchall()
            rows: list[Row] = [
                {n: None if v is None else str(v) for n, v in zip(names, values, strict=True)}
                for values in found
            ]
            if table.key and not table.loose_key:
                tables[table.name] = {_compact({k: row[k] for k in table.key}): row for row in rows}
                assert len(tables[table.name]) == len(rows)
            else:
                bags[table.name] = Counter(_compact(row) for row in rows)
        return Left(tables, bags, failed)


def expected(base: Left, deviant: Left) -> tuple[Counter[Cell], dict[tuple[str, str], int]]:
    """What a forecast has to say of keyed tables; and of the others, by table and hash of the row,
    how many more the deviant history leaves."""
    cells: Counter[Cell] = Counter()
    for name, rows in base.tables.items():
        others = deviant.tables[name]
        for key in rows.keys() | others.keys():
            if key in rows and key in others:
                for column, value in rows[key].items():
                    if value != others[key][column]:
                        cells[f"public.{name}", key, column, value, others[key][column]] += 1
            else:
                there = [str(key in side).lower() for side in (rows, others)]
                cells[f"public.{name}", key, "", there[0], there[1]] += 1
    more: dict[tuple[str, str], int] = {}
    for name, bag in base.bags.items():
        for row in bag.keys() | deviant.bags[name].keys():
            if difference := deviant.bags[name][row] - bag[row]:
                digest = hashlib.sha256(row.encode()).hexdigest()
                more[f"public.{name}", digest] = difference
    return cells, more


def told(made: Made, forecast: Iterable[Cell]) -> tuple[Counter[Cell], dict[tuple[str, str], int]]:
    """A forecast in the same form."""
    keyless = {f"public.{table.name}" for table in made.tables if not table.key or table.loose_key}
    cells: Counter[Cell] = Counter()
    more: Counter[tuple[str, str]] = Counter()
    for table, key, column, base, value in forecast:
        if table not in keyless:
            cells[table, key, column, base, value] += 1
        elif column == "":
            more[table, str(json.loads(key)["#row"])] += (value == "true") - (base == "true")
        else:
            cells[table, key, column, base, value] += 1  # no such thing: a row differs or is equal
    return cells, {name: count for name, count in more.items() if count}


def _compact(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
