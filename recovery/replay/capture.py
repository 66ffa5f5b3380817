"""What a replayed step really wrote, cascades and triggers included: logical decoding by the
server's own pgoutput plug-in, read from a slot. Tables have REPLICA IDENTITY FULL, so that every
update and delete carries the whole old row.
"""

from collections.abc import Iterator

from psycopg import Connection

from recovery.replay.images import Change
from recovery.replay.pgoutput import Decoder

PUBLICATION = "dbmend_all"
_BATCH = 5_000  # changes fetched at a time


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
    """Everything committed since `start`, in commit order. It is asked for once: the server begins
    to decode anew with every question."""
    decoder = Decoder()
    with capture.transaction(), capture.cursor(name="changes", binary=True) as cursor:
        cursor.itersize = _BATCH
        cursor.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version',"
            " '1', 'publication_names', %s, 'messages', 'true')",
            (slot, PUBLICATION),
        )
        while rows := cursor.fetchmany(_BATCH):
            yield from decoder.decode(data for (data,) in rows if isinstance(data, bytes))
