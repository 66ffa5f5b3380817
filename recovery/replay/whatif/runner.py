"""Runs one act in the middle of a transaction as a replay runs it by itself: same clock, same
chance, same ids. What it wrote is told by the log; a failure leaves nothing of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import LiteralString

import psycopg
from psycopg import Connection, sql

from recovery.model import Act
from recovery.replay import clock
from recovery.replay.ground import SEED, Ground
from recovery.replay.identity import positions, positions_query
from recovery.replay.transactions import Batch, batches
from recovery.replay.whatif.numbers import Numbers
from recovery.replay.whatif.record import SCHEMA, Written
from recovery.replay.whatif.relations import Relations
from recovery.scratch.cluster import about_the_server, server_trouble

_NO_TRANSACTION = ("25001", "2D000")  # it only runs outside of one
WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")
NOWHERE = b"SELECT ''::text, 0 WHERE false"  # where no sequence stands


class Untold(Exception):
    """This what-if cannot be told by running acts again; the message says why."""


@dataclass(slots=True)
class Ran:
    """`rows`: what the server reported; `failed`: the last part of it failed; `issued`: the most
    numbers that one part of it took from one sequence."""

    written: list[Written] = field(default_factory=list)
    rows: int = 0
    failed: bool = False
    issued: int = 0


@dataclass(frozen=True, slots=True)
class _Told:
    rows: int
    written: list[Written]
    now: dict[str, int]
    issued: int = 0


class Runner:
    """On a connection with an open transaction."""

    def __init__(
        self,
        ground: Ground,
        connection: Connection[tuple[object, ...]],
        relations: Relations,
        numbers: Numbers,
    ) -> None:
        self._ground = ground
        self.connection = connection
        self.numbers = numbers
        self._path = clock.search_path(connection)
        self.seen = 0  # the end of the log, as far as it was read
        self._open = False  # a savepoint of an act is there
        self._begun = False  # that of the act being run
        self.constraints = [sql.SQL("SET CONSTRAINTS ALL IMMEDIATE").format()]
        if relations.deferred:
            names = sql.SQL(", ").join(sql.SQL(one) for one in relations.deferred)
            self.constraints.append(sql.SQL("SET CONSTRAINTS {} DEFERRED").format(names))

    def begin(self) -> None:
        """A transaction begins."""
        self.connection.execute("BEGIN")
        self._open = False

    def empty(self) -> None:
        """All that was noted was read."""
        log = sql.SQL("TRUNCATE {}.log").format(sql.Identifier(SCHEMA))
        self.connection.execute(log)
        self.seen = 0

    def unread(self) -> list[tuple[str, Written]]:
        """All that is in the log, with the act that it belongs to; it is empty afterwards."""
        query = sql.SQL('SELECT "table", old, new, mark FROM {}.log ORDER BY n').format(
            sql.Identifier(SCHEMA)
        )
        found = []
        for table, old, new, mark in self.connection.execute(query).fetchall():
            found.append((str(mark or ""), Written(int(str(table)), _text(old), _text(new))))
        self.empty()
        return found

    def again(self) -> None:
        """Take back what the last act did."""
        self.connection.execute("ROLLBACK TO SAVEPOINT dbmend_act")

    def run(
        self, act: Act, start: Mapping[str, int], *, numbering: bool = True
    ) -> tuple[Ran, dict[str, int]]:
        """Run the act where sequences stand at `start`; also where they stand afterwards. An act
        that is not `numbering` is known to ask none of them. Raises Untold; EngineError when the
        server is in trouble."""
        if not numbering:
            return self._unnumbered(act, start)
        ran = Ran()
        stand = dict(start)
        parts = batches(act)
        if not all(one.wrapped and one.kept for one in parts):
            raise Untold(f"{act.id} makes its own transactions")
        self._begun = False
        for number, batch in enumerate(parts):
            told = self._batch(act, number, batch, stand)
            if told is None:
                ran.failed = True
                break
            ran.rows += told.rows
            ran.written += told.written
            ran.issued = max(ran.issued, told.issued)
            stand = told.now
        return ran, stand

    def _unnumbered(self, act: Act, start: Mapping[str, int]) -> tuple[Ran, dict[str, int]]:
        before = dict(self.numbers.physical)
        ran, now = self.run(act, before)
        if now != before or self.numbers.physical != before:
            raise Untold(f"{act.id} asks for numbers where none were expected")
        return ran, dict(start)

    def _batch(self, act: Act, number: int, batch: Batch, start: dict[str, int]) -> _Told | None:
        """None: it failed; then `start` is where sequences stand."""
        identities = self._ground.identities
        name = f"{act.id}/{number}" if number else act.id
        text = (name, "\n".join(batch.statements))
        known = self.issued(text)
        begin = start | dict(known or {})
        last = known
        while True:
            self.numbers.put(self.connection, begin)
            try:
                told = self._attempt(act, name, batch)
                break
            except psycopg.Error as error:
                self._judge(act, error)
                now = positions(self.connection, self.numbers.feeds)
                self.numbers.physical = now
                if not last:
                    start |= {one: n for one, n in now.items() if one not in self.numbers.pinned}
                    return None
                # With the ids it had then it does not run here: with others it may.
                begin, last = dict(start), None
        told = replace(told, issued=self.numbers.issued(begin, told.now))
        self.numbers.physical = dict(told.now)
        if text not in identities.issued:
            self._remember(text, start, told.now)
        if last is not None:
            # Numbers are never issued twice, wherever this act's were found.
            told.now.update(
                {n: max(told.now[n], start[n]) for n in self.numbers.pinned if n in told.now}
            )
        return told

    def _remember(
        self, text: tuple[str, str], start: Mapping[str, int], now: Mapping[str, int]
    ) -> None:
        identities = self._ground.identities
        moved = [one for one in identities.feeds if now[one.label] != start[one.label]]
        if any(identities.extras.get(one.table) for one in moved):
            raise Untold("its ids have to be looked for among those of the current state")
        if moved:
            identities.count_on(text, {one.label: start[one.label] for one in moved})

    def _judge(self, act: Act, error: psycopg.Error) -> None:
        """Go on after a failure, where that is a failure of the act."""
        self.judge_server(error)
        if self.connection.closed:
            raise Untold(f"{act.id} ended the session") from error
        if error.sqlstate in _NO_TRANSACTION:
            raise Untold(f"{act.id} does not run in a transaction") from error
        if error.sqlstate == "23503" and any(self._ground.identities.extras.values()):
            raise Untold("a row may have to be borrowed from the current state") from error
        self.connection.execute("ROLLBACK TO SAVEPOINT dbmend_batch")

    def judge_server(self, error: psycopg.Error) -> None:
        """Raises EngineError when the server is in trouble."""
        with server_trouble(self._ground.cluster):
            if about_the_server(error):
                raise error

    def issued(self, text: tuple[str, str]) -> Mapping[str, int] | None:
        """The numbers behind which this part of an act, with this text, is known to begin."""
        return self._ground.identities.issued.get(text)

    def _attempt(self, act: Act, name: str, batch: Batch) -> _Told:
        before = sql.SQL("{} SAVEPOINT dbmend_batch; {}").format(
            sql.SQL(self._savepoint()), self.before(act, name, self.seen)
        )
        log = sql.SQL('SELECT "table", old, new, n FROM {}.log WHERE n > {} ORDER BY n')
        after = [
            *self.constraints,
            sql.SQL("RELEASE SAVEPOINT dbmend_batch"),
            log.format(sql.Identifier(SCHEMA), sql.Literal(self.seen)),
        ]
        texts = [
            before.as_bytes(self.connection),
            *(clock.pin(one).encode() for one in batch.statements),
            *(one.as_bytes(self.connection) for one in after),
            positions_query(self.numbers.feeds) or NOWHERE,
        ]
        with self.connection.cursor() as cursor:
            cursor.execute(b"\n;".join(texts), prepare=False)
            return self._told(cursor)

    def before(self, act: Act, name: str, seen: int, called: str = "set") -> sql.Composed:
        """A session as the part of an act that has this name finds it; rows are noted behind this
        number. It answers with a row whose last column is `called` so."""
        return sql.SQL(
            "RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL;"
            " SELECT {}, pg_catalog.setseed({}), pg_catalog.set_config('dbmend.mark', {}, false),"
            " pg_catalog.set_config('dbmend.n', {}, false) AS {}"
        ).format(
            clock.moment(act.at, self._path),
            clock.chance(name, SEED),
            sql.Literal(act.id),
            sql.Literal(str(seen)),
            sql.Identifier(called),
        )

    def _savepoint(self) -> LiteralString:
        """What makes it possible to take the act back; the act before stays as it is."""
        begun, release = self._begun, self._open
        self._begun = self._open = True
        if begun:
            return ""
        return f"{'RELEASE SAVEPOINT dbmend_act; ' if release else ''}SAVEPOINT dbmend_act;"

    def _told(self, cursor: psycopg.Cursor[tuple[object, ...]]) -> _Told:
        reported: list[int] = []
        kept: list[Sequence[tuple[object, ...]]] = []
        while True:
            done = cursor.statusmessage or ""
            reported.append(max(cursor.rowcount, 0) if done.startswith(WRITES) else 0)
            # Only what comes last is ours; what the act itself asked for is not looked at.
            kept = [*kept[-1:], cursor.fetchall() if cursor.description else []]
            if not cursor.nextset():
                break
        log, stood = kept
        written: list[Written] = []
        for table, old, new, place in log:
            written.append(Written(int(str(table)), _text(old), _text(new)))
            self.seen = int(str(place))
        now = {str(label): int(str(stands)) for label, stands in stood}
        return _Told(sum(reported), written, now)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
