"""One history lived through on a copy of the backup, every write noted by the step that made it.

As in `recovery/demo/twin.py`, whose clock and readings are used, but for long histories: triggers
note what each step wrote, so a step costs what it writes and not what there is. Applications that
read before they write (`[[SELECT ...]]` in a text) read in the world they live in.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql

from recovery.demo.twin import (
    Connection,
    Row,
    State,
    TableShape,
    prepare,
    read_table,
    sequences,
    set_clock,
    shapes,
)

GONE = "\x00gone"  # the value of a cell whose column is no more
GAP = 100  # ids of every sequence that are set aside for each step
_READ = re.compile(r"\[\[(.*?)\]\]", re.S)
_CHANGES_SCHEMA = re.compile(r"\b(DROP|ALTER|CREATE)\b", re.I)


@dataclass(frozen=True, slots=True)
class Act:
    """A step as a world lives it. `slot` is its place for ids: the same in every world."""

    id: str
    at: datetime
    text: str
    slot: int


@dataclass(slots=True)
class World:
    """What a history left behind: the last state, who wrote which cell, which steps failed, what
    was really run and what was reported. `around` has the state before and after acts that were
    asked for. A cell is (table, key, column); column '' is the row's existence."""

    state: State
    writers: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    around: dict[str, tuple[State, State]] = field(default_factory=dict)


def live(
    connection: Connection,
    acts: Sequence[Act],
    start: State,
    *,
    may_fail: bool = False,
    look_at: frozenset[str] = frozenset(),
    checked: bool = False,
    watched: bool = True,
) -> World:
    """Live through the acts, one transaction each, on a database whose state is `start`. A failing
    act is an error of the history unless `may_fail`. `checked`: compare what was noted with what is
    there at the end. Not `watched`: only the last state is known then, and it takes less time."""
    prepare(connection)
    life = _Life(connection, start, watched=watched)
    restore = set_clock(connection)
    if watched:
        life.watch()
    try:
        for act in acts:
            before = life.copy() if act.id in look_at else {}
            try:
                life.do(act)
            except psycopg.Error as error:
                if not may_fail:
                    raise RuntimeError(f"step {act.id}: {error}\n{act.text}") from error
                life.world.failed[act.id] = str(error)
            if act.id in look_at:
                life.world.around[act.id] = (before, life.copy())
    finally:
        if watched:
            life.unwatch()
        restore()
    if not watched:
        life.world.state = _shared(read_as(connection, life.tables), start)
    elif checked:
        assert life.world.state == read_as(connection, life.tables), "a write was missed"
    return life.world


class Moment:
    """A database in the middle of a history: the acts were done, and others can be tried there."""

    def __init__(self, connection: Connection, acts: Sequence[Act]) -> None:
        prepare(connection)
        self._life = _Life(connection, {}, watched=False)
        set_clock(connection)
        for act in acts:
            with suppress(psycopg.Error):  # what failed then fails again
                self._life.do(act)

    def effect(self, act: Act) -> dict[str, tuple[object, ...]]:
        """What every table holds when the act was done here, as count and sum; it is undone again.
        Raises psycopg.Error when it fails."""
        connection = self._life.connection
        with connection.transaction(force_rollback=True):
            self._life.set_the_scene(act)
            connection.execute("SET LOCAL statement_timeout = '120s'")
            connection.execute(act.text.encode())
            found: dict[str, tuple[object, ...]] = {}
            for shape in shapes(connection):
                query = sql.SQL(
                    "SELECT count(*), sum(hashtextextended((t.*)::text, 0)), {} FROM {} t"
                ).format(sql.Literal(" ".join(shape.columns)), shape.identifier)
                found[shape.name] = connection.execute(query).fetchone() or ()
        return found


def read_as(connection: Connection, tables: Iterable[TableShape]) -> State:
    """The state in the shape of `tables`, whatever has become of them since."""
    now = {shape.name: shape for shape in shapes(connection)}
    state: State = {}
    for shape in tables:
        there = now.get(shape.name)
        rows = read_table(connection, there) if there else {}
        if there and there.columns != shape.columns:
            rows = {key: reshaped(there, row, shape) for key, row in rows.items()}
        state[shape.name] = rows
    return state


def _shared(state: State, start: State) -> State:
    """The same, with the rows of `start` where they are equal: many worlds have to fit."""
    for name, rows in state.items():
        known = start[name]
        for key, row in rows.items():
            if known.get(key) == row:
                rows[key] = known[key]
    return state


def reshaped(shape: TableShape, row: Row, wanted: TableShape) -> Row:
    values = dict(zip(shape.columns, row, strict=True))
    return tuple(values.get(name, GONE) for name in wanted.columns)


class _Life:
    """The connection, the world so far, and the triggers that note what is written."""

    def __init__(self, connection: Connection, start: State, *, watched: bool) -> None:
        self.connection = connection
        self.watched = watched
        self.tables = shapes(connection)
        self.now = {shape.name: shape for shape in self.tables}
        self.world = World({name: dict(rows) for name, rows in start.items()} if watched else {})
        self.positions = sequences(connection)

    def copy(self) -> State:
        return {name: dict(rows) for name, rows in self.world.state.items()}

    def do(self, act: Act) -> None:
        with self.connection.transaction():
            self.set_the_scene(act)
            text = _READ.sub(self._read, act.text)
            self.world.texts[act.id] = text
            done = self.connection.execute(text.encode())
            count = done.rowcount
            changed = bool(_CHANGES_SCHEMA.search(text))
            seen = self._seen() if self.watched else []
        if ";" not in text and count >= 0:
            self.world.rows[act.id] = count
        for table, old, new in seen:
            self._note(act.id, table, old, new)
        if changed:
            self._after_ddl(act.id)

    def watch(self) -> None:
        self.connection.execute(
            "CREATE SCHEMA history_watch; CREATE TABLE history_watch.seen"
            ' (n bigserial, "table" text, old text[], new text[])'
        )
        self._put_triggers()

    def unwatch(self) -> None:
        self.connection.execute("DROP SCHEMA history_watch CASCADE")

    def _put_triggers(self) -> None:
        for number, shape in enumerate(self.now.values()):
            name = sql.Identifier("history_watch", f"note_{number}")
            self.connection.execute(_function(name, shape))
            self.connection.execute(
                sql.SQL(
                    'CREATE OR REPLACE TRIGGER "!history" AFTER INSERT OR UPDATE OR DELETE ON {0}'
                    " FOR EACH ROW EXECUTE FUNCTION {1}();"
                    'CREATE OR REPLACE TRIGGER "!history_all" BEFORE TRUNCATE ON {0}'
                    " FOR EACH STATEMENT EXECUTE FUNCTION {1}()"
                ).format(shape.identifier, name)
            )

    def set_the_scene(self, act: Act) -> None:
        moves = [
            sql.SQL("setval({}::regclass, {}, false)").format(name, first + act.slot * GAP)
            for name, first in self.positions
        ]
        moves.append(sql.SQL("set_config('history.now', {}, true)").format(act.at.isoformat()))
        self.connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(moves)))

    def _read(self, found: "re.Match[str]") -> str:
        row = self.connection.execute(f"SELECT ({found[1]})::text".encode()).fetchone()
        return "NULL" if row is None or row[0] is None else str(row[0])

    def _seen(self) -> list[tuple[str, Row | None, Row | None]]:
        rows = self.connection.execute(
            'WITH gone AS (DELETE FROM history_watch.seen RETURNING n, "table", old, new)'
            ' SELECT "table", old, new FROM gone ORDER BY n'
        ).fetchall()
        return [
            (
                str(table),
                tuple(old) if isinstance(old, list) else None,
                tuple(new) if isinstance(new, list) else None,
            )
            for table, old, new in rows
        ]

    def _note(self, step: str, table: str, old: Row | None, new: Row | None) -> None:
        shape, wanted = self.now[table], next(t for t in self.tables if t.name == table)
        old = reshaped(shape, old, wanted) if old is not None else None
        new = reshaped(shape, new, wanted) if new is not None else None
        if not wanted.key:
            raise RuntimeError(f"{table} has no key: not for these histories")
        if old is not None and new is not None and wanted.key_text(old) != wanted.key_text(new):
            self._write(step, wanted, wanted.key_text(old), None)
            old = None
        row = new if new is not None else old
        assert row is not None
        self._write(step, wanted, wanted.key_text(row), new)

    def _write(self, step: str, shape: TableShape, key: str, new: Row | None) -> None:
        rows, writers = self.world.state[shape.name], self.world.writers
        old = rows.get(key)
        if old is None or new is None:
            writers.setdefault((shape.name, key, ""), []).append(step)
        for at, name in enumerate(shape.columns):
            if old is None or new is None or old[at] != new[at]:
                writers.setdefault((shape.name, key, name), []).append(step)
        if new is None:
            rows.pop(key, None)
        else:
            rows[key] = new

    def _after_ddl(self, step: str) -> None:
        """Take in what a step dropped, and watch what is left."""
        self.now = {
            shape.name: shape
            for shape in shapes(self.connection)
            if not shape.name.startswith("history_watch.")
        }
        self.positions = tuple(
            one for one in self.positions if one[0] in dict(sequences(self.connection))
        )
        if not self.watched:
            return
        for shape in self.tables:
            there = self.now.get(shape.name)
            if there and there.columns == shape.columns:
                continue
            for key, row in list(self.world.state[shape.name].items()):
                values = dict(zip(shape.columns, row, strict=True))
                kept = there.columns if there else ()
                left = tuple(values[name] if name in kept else GONE for name in shape.columns)
                self._write(step, shape, key, left if there else None)
        self._put_triggers()


def _function(name: sql.Identifier, shape: TableShape) -> sql.Composed:
    """Note the old and the new row as texts, as COPY would print them."""

    def row(of: str) -> sql.Composed:
        texts = [
            sql.SQL("CASE WHEN {0}.{1} IS NOT NULL THEN pg_catalog.concat({0}.{1}) END").format(
                sql.SQL(of), sql.Identifier(column)
            )
            for column in shape.columns
        ]
        return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(texts))

    return sql.SQL("""
        CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $f$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO history_watch.seen ("table", new) VALUES ({table}, {new});
            ELSIF TG_OP = 'UPDATE' THEN
                INSERT INTO history_watch.seen ("table", old, new) VALUES ({table}, {old}, {new});
            ELSIF TG_OP = 'DELETE' THEN
                INSERT INTO history_watch.seen ("table", old) VALUES ({table}, {old});
            ELSE
                INSERT INTO history_watch.seen ("table", old) SELECT {table}, {each} FROM {rel} r;
            END IF;
            RETURN NULL;
        END $f$""").format(
        name=name,
        table=sql.Literal(shape.name),
        new=row("NEW"),
        old=row("OLD"),
        each=row("r"),
        rel=shape.identifier,
    )
