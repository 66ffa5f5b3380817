"""Steps that follow each other, sent to the server in one message.

Most steps are plain writes, and what surrounds one on its way (clock, chance, mark, counts) costs
more than the write when each of it is a question of its own. So plain steps are sent together,
each still a transaction of its own, closed by a check on the server: what changed definitions or
files, or asked a sequence for numbers that have to be looked for first, ends the stretch before
its COMMIT, and nothing behind it is run. Such a step, and one that fails, is then for the session
to run by itself, with all questions asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import Connection, sql
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import fetch, send
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from diffing.model import qualified
from recovery.replay import clock
from recovery.replay.identity import Feed, Identities
from recovery.replay.legs import Leg
from recovery.replay.sentry import BY_ITSELF
from recovery.replay.stands import Stands, put_back, read_stands
from recovery.replay.statements import WRITES

_NAMES = """
SELECT c.oid, c.relkind = 'S', s.nspname, r.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class r
  ON r.oid = CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid) ELSE c.oid END
JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'S') AND c.relpersistence <> 't'
"""
# As `clock.set_clock` leaves a session, but before the COMMIT: the BEGIN that follows is as new.
_ANEW = (
    b"SELECT pg_catalog.pg_advisory_unlock_all()",
    b"RESET SESSION AUTHORIZATION",
    b"RESET ROLE",
    b"RESET ALL",
    b"DEALLOCATE ALL",
    b"CLOSE ALL",
)
_WRITES = tuple(name.encode() for name in WRITES)


@dataclass(frozen=True, slots=True)
class Passed:
    """A leg that is committed: rows as the server reported them, rows written by table."""

    leg: Leg
    rows: int
    written: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stopped:
    """A leg of which nothing is left. Without an error it was as good as not tried; with one,
    that is what trying it has come to, and sequences stood so before."""

    leg: Leg
    error: psycopg.Error | None
    stands: Stands


@dataclass(frozen=True, slots=True)
class Manner:
    """How legs are run. `seed`: of all chance; `deferrable`: whether there are constraints that may
    wait for a COMMIT."""

    seed: float
    deferrable: bool


@dataclass(frozen=True, slots=True)
class _Told:
    counts: dict[int, int]
    stands: Stands


@dataclass(slots=True)
class _Ran:
    results: list[PGresult] = field(default_factory=list)
    lost: psycopg.Error | None = None  # the connection went away


class Stretches:
    """One per connection of a session."""

    def __init__(
        self, connection: Connection[tuple[object, ...]], identities: Identities, path: str
    ) -> None:
        self._connection = connection
        self._identities = identities
        self._path = self._literal(path)
        self._tables: dict[int, str] = {}
        self._sequences: dict[str, int] = {}
        self._stands: Stands | None = None
        self._clean = False

    def forget(self, *, altered: bool) -> None:
        """Something else was run in the session; with `altered`, what may have changed
        definitions."""
        self._stands = None
        self._clean = False
        if altered:
            self._tables, self._sequences = {}, {}

    def run(
        self,
        going: Sequence[Leg],
        feeds: tuple[Feed, ...],
        manner: Manner,
        meanwhile: Callable[[], object],
    ) -> tuple[list[Passed], Stopped | None]:
        """As far as it goes; `meanwhile` is called while the server is at it. Of what stopped
        nothing is left but numbers that it took, and those only where an error says that it was
        tried."""
        stands = self._begin()
        feeds = tuple(feed for feed in feeds if feed.label in self._sequences)
        known = [self._identities.issued.get(leg.key) for leg in going]
        texts = [b"SELECT dbmend_watch.told()"]
        for leg, ids in zip(going, known, strict=True):
            texts.append(b"\n;".join(self._text(leg, ids, feeds, manner)))
        ran = self._send(b"\n;".join(texts), meanwhile)
        if ran.results and ran.results[0].status == ExecStatus.FATAL_ERROR:
            place = _place(texts, error_from_result(ran.results[0]))
            done, stopped = (
                self.run(going[:place], feeds, manner, meanwhile) if place else ([], None)
            )
            return done, stopped or Stopped(going[place], None, {})
        parts = _parts(ran.results[1:])
        counts = _told(ran.results[0]).counts if ran.results else {}
        passed: list[Passed] = []
        for leg, ids in zip(going, known, strict=True):
            part = next(parts, [])
            if not part or part[-1].command_status != b"COMMIT":
                return passed, self._stopped(leg, part, ran.lost)
            told = _told(part[-2 - len(_ANEW) if leg.last else -2])
            if ids is None:
                self._issued(leg, feeds, stands, told.stands)
            passed.append(Passed(leg, _rows(part), self._written(counts, told.counts)))
            counts.update(told.counts)
            stands.update(told.stands)
        return passed, None

    def positions(self, feeds: Iterable[Feed]) -> dict[str, int] | None:
        """Where the sequences stand, while that is known."""
        if self._stands is None:
            return None
        found = {feed.label: self._position(feed, self._stands) for feed in feeds}
        told = {label: n for label, n in found.items() if n is not None}
        return told if len(told) == len(found) else None

    def _begin(self) -> Stands:
        if not self._clean:
            self._connection.execute(b"; ".join((*_ANEW[1:], _ANEW[0])))
            self._clean = True
        if not self._tables:
            for oid, sequence, schema, relation in self._connection.execute(_NAMES).fetchall():
                name = qualified(str(schema), str(relation))
                if sequence:
                    self._sequences[name] = int(str(oid))
                else:
                    self._tables[int(str(oid))] = name
        if self._stands is None:
            self._stands = read_stands(self._connection)
        return self._stands

    def _text(
        self, leg: Leg, ids: Mapping[str, int] | None, feeds: tuple[Feed, ...], manner: Manner
    ) -> Iterator[bytes]:
        """What is sent for one leg; every statement has one result."""
        extras = self._identities.extras
        guarded = _array(
            self._sequences[feed.label] for feed in feeds if ids is None and extras.get(feed.table)
        )
        settings = b"NULL, NULL, NULL"  # of an act there are settings once
        if not leg.number:
            at, zone = (self._literal(one) for one in (leg.at.isoformat(), clock.zone(leg.at)))
            settings = b", ".join((at, zone, self._path))
        chance = repr(clock.chance(leg.name, manner.seed)).encode()
        mark = self._literal(leg.act.id)
        yield b"BEGIN"
        yield (
            b"SELECT pg_catalog.setseed(%s), pg_catalog.pg_logical_emit_message(true, 'step', %s),"
            b" dbmend_watch.opened(%s, %s, %s)" % (chance, mark, settings, mark, guarded)
        )
        set_to = [feed for feed in feeds if ids and feed.label in ids]
        if ids and set_to:
            yield b"SELECT dbmend_watch.numbered(%s, %s)" % (
                _array(self._sequences[feed.label] for feed in set_to),
                _array(ids[feed.label] for feed in set_to),
            )
        yield from leg.statements
        if manner.deferrable:
            yield b"SET CONSTRAINTS ALL IMMEDIATE"
        settling = b"true" if set_to else b"false"
        yield b"SELECT dbmend_watch.closed(%s, %s)" % (guarded, settling)
        if leg.last:
            yield from _ANEW
        yield b"COMMIT"

    def _send(self, text: bytes, meanwhile: Callable[[], object]) -> _Ran:
        ran = _Ran()
        server = self._connection.pgconn
        server.send_query(text)
        meanwhile()

        def going() -> PQGen[None]:
            yield from send(server)
            while (result := (yield from fetch(server))) is not None:
                ran.results.append(result)

        try:
            self._connection.wait(going())
        except psycopg.DatabaseError as error:
            ran.lost = error
        return ran

    def _stopped(self, leg: Leg, part: Sequence[PGresult], lost: psycopg.Error | None) -> Stopped:
        error = lost
        if part and part[-1].status == ExecStatus.FATAL_ERROR:
            error = error_from_result(part[-1])
        if self._connection.pgconn.transaction_status == TransactionStatus.INERROR:
            self._connection.execute(b"ROLLBACK")
        if lost is None and (len(part) <= 2 or (error is not None and error.sqlstate == BY_ITSELF)):
            put_back(self._connection, self._stands or {})
            error = None
        return Stopped(leg, error, dict(self._stands or {}))

    def _issued(self, leg: Leg, feeds: tuple[Feed, ...], before: Stands, now: Stands) -> None:
        """No row of the current state can be one of these: the numbers are what they are."""
        begun = {feed.label: self._position(feed, before) for feed in feeds}
        moved = {
            feed.label: n
            for feed in feeds
            if (n := begun[feed.label]) is not None and self._position(feed, before | now) != n
        }
        if moved:
            self._identities.count_on(leg.key, moved)

    def _position(self, feed: Feed, stands: Stands) -> int | None:
        oid = self._sequences.get(feed.label)
        if oid is None or oid not in stands:
            return None
        number, issued = stands[oid]
        return number if issued else number - feed.increment

    def _written(self, before: Mapping[int, int], now: Mapping[int, int]) -> dict[str, int]:
        found: dict[str, int] = {}
        for oid, count in now.items():
            if more := count - before.get(oid, 0):
                name = self._tables[oid]
                found[name] = found.get(name, 0) + more
        return {name: count for name, count in found.items() if count}

    def _literal(self, text: str) -> bytes:
        if "\\" in text:
            return sql.Literal(text).as_bytes(self._connection)
        return b"'%s'" % text.replace("'", "''").encode()


def _parts(results: Sequence[PGresult]) -> Iterator[list[PGresult]]:
    """One for each transaction; the last may be without its end."""
    part: list[PGresult] = []
    for result in results:
        part.append(result)
        if result.command_status == b"COMMIT":
            yield part
            part = []
    if part:
        yield part


def _rows(part: Iterable[PGresult]) -> int:
    return sum(
        result.command_tuples or 0
        for result in part
        if (result.command_status or b"").startswith(_WRITES)
    )


def _told(result: PGresult) -> _Told:
    value = result.get_value(0, 0)
    return _read(value.decode()) if value else _Told({}, {})


def _read(text: str) -> _Told:
    told = _Told({}, {})
    for one in text.split(","):
        match one.split(":"):
            case [oid, count]:
                told.counts[int(oid)] = int(count)
            case [oid, number, issued]:
                told.stands[int(oid)] = int(number), issued == "t"
            case _:
                pass
    return told


def _array(numbers: Iterable[int]) -> bytes:
    return b"'{%s}'" % ",".join(map(str, numbers)).encode()


def _place(texts: Sequence[bytes], error: psycopg.Error) -> int:
    """Of the leg whose text the server could not read, so that it ran nothing of all texts."""
    place = error.diag.statement_position
    if place is None:
        return 0
    read = b"\n;".join(texts).decode()[: int(place) - 1].encode()
    ends = 0
    for number, text in enumerate(texts):
        ends += len(text) + 2
        if len(read) < ends:
            return max(number - 1, 0)
    return len(texts) - 2
