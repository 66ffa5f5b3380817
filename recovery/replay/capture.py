"""What a replayed step really wrote, cascades and triggers included: logical decoding by the
server's own pgoutput plug-in, read from a slot.

Message layout: PostgreSQL documentation, "Logical Replication Message Formats" (protocol 1).
Tables have REPLICA IDENTITY FULL, so that every update and delete carries the whole old row.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from psycopg import Connection

from diffing.model import qualified

PUBLICATION = "dbmend_all"
_BATCH = 100_000  # changes asked for at a time; a transaction is never split


@dataclass(frozen=True, slots=True)
class Marker:
    """From here on, changes belong to this step."""

    step: str


@dataclass(frozen=True, slots=True)
class Image:
    """One row written: `old` is None for an insert, `new` for a delete."""

    op: Literal["insert", "update", "delete"]
    table: str
    old: dict[str, str | None] | None
    new: dict[str, str | None] | None
    whole: bool = True  # False: the server did not send all of it, the rows tell nothing


@dataclass(frozen=True, slots=True)
class Truncated:
    """A TRUNCATE: decoding names the tables and not their rows."""

    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Withheld:
    """From here to `Settled`, row images of this table tell nothing: what happened to its rows
    comes as `Told`."""

    table: str


@dataclass(frozen=True, slots=True)
class Told:
    """A row that is another than before the batch: as in an image, whole, in column order."""

    table: str
    old: dict[str, str | None] | None
    new: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Settled:
    """Images tell again."""


Change = Marker | Image | Truncated | Withheld | Told | Settled


@dataclass(frozen=True, slots=True)
class _Relation:
    table: str
    columns: tuple[str, ...]


# Runs as whoever changes a definition; nobody but the keeper may replace it. Changes are counted by
# a sequence, because that is what no rollback and no RESET takes back. Tables that a step makes are
# captured whole too, else the server would refuse to update them.
_WATCH = """
CREATE SCHEMA dbmend_watch;
CREATE SEQUENCE dbmend_watch.alterations;
GRANT USAGE ON SCHEMA dbmend_watch TO PUBLIC;
GRANT USAGE, SELECT ON SEQUENCE dbmend_watch.alterations TO PUBLIC;
CREATE FUNCTION dbmend_watch.altered() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE one record;
BEGIN
  FOR one IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
    CONTINUE WHEN one.schema_name = 'pg_temp' OR one.command_tag IN
      ('CREATE INDEX', 'ALTER INDEX', 'COMMENT', 'GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES');
    PERFORM nextval('dbmend_watch.alterations');
    IF one.command_tag IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
       AND one.object_type = 'table' THEN
      EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', one.objid::regclass);
    END IF;
  END LOOP;
END $body$;
CREATE FUNCTION dbmend_watch.dropped() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  PERFORM nextval('dbmend_watch.alterations') FROM (
    SELECT FROM pg_event_trigger_dropped_objects()
    WHERE NOT is_temporary AND object_type <> 'index' LIMIT 1) AS one;
END $body$;
CREATE EVENT TRIGGER dbmend_altered ON ddl_command_end EXECUTE FUNCTION dbmend_watch.altered();
CREATE EVENT TRIGGER dbmend_dropped ON sql_drop EXECUTE FUNCTION dbmend_watch.dropped();
"""


def publish(keeper: Connection[tuple[object, ...]]) -> None:
    """Make what the slot reads, in the database that clones are made of, and watch changes of
    definitions there."""
    keeper.execute(
        f"CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES WITH (publish_via_partition_root = true)"
    )
    keeper.execute(_WATCH.encode())


def start(capture: Connection[tuple[object, ...]], slot: str) -> None:
    capture.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))


def stop(capture: Connection[tuple[object, ...]], slot: str) -> None:
    capture.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def changes(capture: Connection[tuple[object, ...]], slot: str) -> Iterator[Change]:
    """Everything committed since `start`, in commit order."""
    relations: dict[int, _Relation] = {}
    while True:
        rows = capture.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, %s, 'proto_version',"
            " '1', 'publication_names', %s, 'messages', 'true')",
            (slot, _BATCH, PUBLICATION),
            binary=True,
        ).fetchall()
        if not rows:
            return
        for (data,) in rows:
            assert isinstance(data, bytes)
            change = _decode(data, relations)
            if change is not None:
                yield change


def _decode(data: bytes, relations: dict[int, _Relation]) -> Change | None:
    reader = _Reader(data, 1)
    match data[:1]:
        case b"R":
            oid = reader.integer(4)
            namespace = reader.string() or "pg_catalog"
            table = qualified(namespace, reader.string())
            reader.skip(1)
            columns = []
            for _ in range(reader.integer(2)):
                reader.skip(1)
                columns.append(reader.string())
                reader.skip(8)
            relations[oid] = _Relation(table, tuple(columns))
            return None
        case b"I":
            relation = relations[reader.integer(4)]
            reader.skip(1)
            return Image("insert", relation.table, None, reader.row(relation, None)[0])
        case b"U":
            relation = relations[reader.integer(4)]
            tag = reader.tag()
            old = reader.row(relation, None)[0] if tag in (b"O", b"K") else None
            if old is not None:
                reader.skip(1)
            new, known = reader.row(relation, old)
            return Image("update", relation.table, old, new, tag == b"O" and known)
        case b"D":
            relation = relations[reader.integer(4)]
            tag = reader.tag()
            return Image("delete", relation.table, reader.row(relation, None)[0], None, tag == b"O")
        case b"T":
            count = reader.integer(4)
            reader.skip(1)
            return Truncated(tuple(relations[reader.integer(4)].table for _ in range(count)))
        case b"M":
            reader.skip(9)
            prefix = reader.string()
            content = reader.take(reader.integer(4)).decode()
            return _message(prefix, content)
        case _:  # begin, commit, origin, type: nothing that a replay needs
            return None


def _message(prefix: str, content: str) -> Change | None:
    match prefix:
        case "step":
            return Marker(content)
        case "withheld":
            return Withheld(content)
        case "told":
            told = json.loads(content)
            return Told(told["table"], told["old"], told["new"])
        case "settled":
            return Settled()
        case _:
            return None


class _Reader:
    """A cursor over one message."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def skip(self, size: int) -> None:
        self.at += size

    def tag(self) -> bytes:
        return self.take(1)

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def string(self) -> str:
        end = self.data.index(b"\0", self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def row(
        self, relation: _Relation, old: dict[str, str | None] | None
    ) -> tuple[dict[str, str | None], bool]:
        """A tuple, and whether all of it is known: an unchanged out-of-line value is not sent
        and is taken from the old row."""
        values: dict[str, str | None] = {}
        known = True
        # Written out, because this is run for every row that a history writes.
        data = self.data
        at = self.at + 2
        assert int.from_bytes(data[self.at : at], "big") == len(relation.columns)
        for name in relation.columns:
            match data[at]:
                case 116:  # t: a text
                    end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
                    values[name] = data[at + 5 : end].decode()
                    at = end
                    continue
                case 110:  # n: NULL
                    values[name] = None
                case 117 if old is not None:  # u: unchanged, out of line
                    values[name] = old[name]
                case 117:
                    values[name] = None
                    known = False
                case other:
                    raise AssertionError(f"unknown tuple mark {other!r}")
            at += 1
        self.at = at
        return values, known
