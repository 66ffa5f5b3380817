"""Many acts of the base run in one message to the server: most of the time of a short act goes by
on the way there and back.

They stand or fall together. Where one of them fails, or takes other numbers than it had, nothing
is left of any, and each has to be run by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from recovery.model import Act, Outcome, StepOutcome
from recovery.replay import clock
from recovery.replay.identity import positions_query, positions_set
from recovery.replay.transactions import batches
from recovery.replay.whatif.reads import Reading
from recovery.replay.whatif.record import SCHEMA, Written
from recovery.replay.whatif.runner import NOWHERE, WRITES, Ran, Runner

ACTS_MAX = 64
_ROOM = 32  # bits of the numbers that the rows of one act may have in the log
_MARK = " dbmend"  # a column of this name is ours


@dataclass(frozen=True, slots=True)
class Part:
    """An act, and whether it may ask sequences for numbers."""

    act: Act
    numbering: bool

    @property
    def text(self) -> tuple[str, str]:
        """Under which its numbers are remembered."""
        return self.act.id, "\n".join(self.act.statements)


def fits(act: Act, reading: Reading, told: StepOutcome | None) -> bool:
    """Whether an act can be one of many: what it did before says so, and what it may meet."""
    if told is None or told.outcome is not Outcome.DONE or not act.statements:
        return False
    if reading.barrier or reading.opaque or reading.session:
        return False
    parts = batches(act)
    return len(parts) == 1 and parts[0].wrapped and parts[0].kept


def run_together(
    runner: Runner, parts: Sequence[Part], start: Mapping[str, int]
) -> list[tuple[Ran, dict[str, int]]] | None:
    """What each did, and where sequences stood behind it, as `Runner.run` tells it; committed.
    None: nothing is left, and where sequences stand has to be looked up."""
    connection = runner.connection
    connection.execute("BEGIN")
    try:
        runner.numbers.put(connection, start)
        with connection.cursor() as cursor:
            cursor.execute(b"\n;".join(_texts(runner, parts)), prepare=False)
            ran, stood, last = _told(cursor, parts, runner.seen)
    except psycopg.Error as error:
        runner.judge_server(error)
        connection.execute("ROLLBACK")
        return None
    now = _numbers(runner, parts, start, stood)
    if now is None:
        connection.execute("ROLLBACK")
        return None
    connection.execute("COMMIT")
    runner.seen = last
    runner.numbers.physical = dict(stood[-1])
    return list(zip(ran, now, strict=True))


def _texts(runner: Runner, parts: Sequence[Part]) -> Iterator[bytes]:
    connection = runner.connection
    positions = positions_query(runner.numbers.feeds) or NOWHERE
    asking = f'SELECT q.*, 0 AS "{_MARK}" FROM ('.encode() + positions + b") AS q"
    after = [one.as_bytes(connection) for one in runner.constraints]
    for place, part in enumerate(parts):
        first = runner.seen + (place << _ROOM)
        yield runner.before(part.act, part.act.id, first, _MARK).as_bytes(connection)
        known = runner.issued(part.text)
        for one in positions_set(runner.numbers.feeds, known or {}):
            yield one.as_bytes(connection)
        for statement in part.act.statements:
            yield clock.pin(statement).encode()
        yield from after
        if part.numbering:
            yield asking
    yield asking
    yield (
        sql.SQL('SELECT "table", old, new, n FROM {}.log WHERE n > {} ORDER BY n')
        .format(sql.Identifier(SCHEMA), sql.Literal(runner.seen))
        .as_bytes(connection)
    )


def _told(
    cursor: psycopg.Cursor[tuple[object, ...]], parts: Sequence[Part], seen: int
) -> tuple[list[Ran], list[dict[str, int]], int]:
    """What every act did; where sequences stood behind those that may ask them, and in the end;
    the last number in the log."""
    ran: list[Ran] = []
    stood: list[dict[str, int]] = []
    while True:
        result = cursor.pgresult
        assert result is not None
        if result.nfields and result.fname(result.nfields - 1) == _MARK.encode():
            if result.nfields == 3:
                stood.append({str(one): int(str(n)) for one, n, _ in cursor.fetchall()})
            else:
                ran.append(Ran())
        elif (cursor.statusmessage or "").startswith(WRITES):
            ran[-1].rows += max(cursor.rowcount, 0)
        elif len(ran) == len(parts) and len(stood) > sum(one.numbering for one in parts):
            break
        if not cursor.nextset():
            raise AssertionError("the log was not read")
    last = seen
    for table, old, new, n in cursor.fetchall():
        last = int(str(n))
        written = Written(
            int(str(table)),
            None if old is None else str(old),
            None if new is None else str(new),
        )
        ran[(last - seen - 1) >> _ROOM].written.append(written)
    return ran, stood, last


def _numbers(
    runner: Runner,
    parts: Sequence[Part],
    start: Mapping[str, int],
    stood: Sequence[Mapping[str, int]],
) -> list[dict[str, int]] | None:
    """Where sequences stood behind every act; None where one did not begin as it should have."""
    numbers = runner.numbers
    physical = {label: numbers.physical[label] for label in start}
    stand = dict(start)
    found = []
    told = iter(stood)
    for part in parts:
        known = runner.issued(part.text)
        begin = stand | dict(known or {})
        physical |= dict(known or {})
        if physical != begin:
            return None
        if part.numbering:
            now = next(told)
            if known is None and any(now[one] != stand[one] for one in numbers.pinned & now.keys()):
                return None  # which ids it has is still to be found out
            physical = dict(now)
            later = {one: max(now[one], stand[one]) for one in numbers.pinned if one in now}
            stand = dict(now) | (later if known is not None else {})
        found.append(dict(stand))
    return found if dict(next(told)) == physical else None
