"""Rows written in the working database, noted by triggers of ours: every row as the server prints
it, whatever the settings of the act, so that its text makes the same row again.

Triggers see what cascades, other triggers and ON CONFLICT write, and, unlike decoding, what is
written in a transaction that will be taken back.
"""

from dataclasses import dataclass

from psycopg import Connection, sql

from diffing.model import PINNED_SETTINGS
from recovery.replay.whatif.relations import Relations

SCHEMA = "dbmend_whatif"

# Under which the text of a row makes the same row again.
PINS = tuple(
    f"SET {name} = {value}"
    for name, value in (
        ("TimeZone", "'UTC'"),
        ("DateStyle", "'ISO, YMD'"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
        ("lc_monetary", "'C'"),
        ("xmlbinary", "base64"),
    )
    if name in dict(PINNED_SETTINGS)
)
_SET = " ".join(PINS)
# No sequence counts the rows: an act could ask which number was issued last.
_NEXT = "coalesce(nullif(pg_catalog.current_setting('dbmend.n', true), ''), '0')::bigint + 1"

# By its name it comes before the triggers that act on what they see.
_NOTE = f"""
CREATE SCHEMA {SCHEMA};
GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC;
CREATE UNLOGGED TABLE {SCHEMA}.log (n bigint, mark text, "table" int, old text, new text)
  WITH (autovacuum_enabled = off);
CREATE INDEX ON {SCHEMA}.log (n);
GRANT INSERT ON {SCHEMA}.log TO PUBLIC;
CREATE FUNCTION {SCHEMA}.note() RETURNS trigger LANGUAGE plpgsql {_SET} AS $body$
DECLARE
  mark text := pg_catalog.current_setting('dbmend.mark', true);
  n bigint := {_NEXT};
BEGIN
  PERFORM pg_catalog.set_config('dbmend.n', n::text, false);
  IF TG_OP = 'INSERT' THEN
    INSERT INTO {SCHEMA}.log VALUES (n, mark, TG_ARGV[0]::int, NULL, NEW::text);
  ELSIF TG_OP = 'UPDATE' THEN
    INSERT INTO {SCHEMA}.log VALUES (n, mark, TG_ARGV[0]::int, OLD::text, NEW::text);
  ELSE
    INSERT INTO {SCHEMA}.log VALUES (n, mark, TG_ARGV[0]::int, OLD::text, NULL);
  END IF;
  RETURN NULL;
END $body$;
CREATE FUNCTION {SCHEMA}.emptied() RETURNS trigger LANGUAGE plpgsql {_SET} AS $body$
DECLARE n bigint := {_NEXT}; rows bigint;
BEGIN
  EXECUTE pg_catalog.format('INSERT INTO {SCHEMA}.log'
    ' SELECT $1 + row_number() OVER (), $2, $3::int, (t.*)::text, NULL FROM ONLY %I.%I AS t',
    TG_TABLE_SCHEMA, TG_TABLE_NAME)
    USING n, pg_catalog.current_setting('dbmend.mark', true), TG_ARGV[0];
  GET DIAGNOSTICS rows = ROW_COUNT;
  PERFORM pg_catalog.set_config('dbmend.n', (n + rows)::text, false);
  RETURN NULL;
END $body$;
"""
# Only a superuser may silence foreign keys; this is all of it that an act can reach.
_QUIET = f"""
CREATE FUNCTION {SCHEMA}.quiet(silent boolean) RETURNS void LANGUAGE sql SECURITY DEFINER AS
$body$ SELECT pg_catalog.set_config('session_replication_role',
  CASE WHEN silent THEN 'replica' ELSE 'origin' END, true) $body$;
"""
_LEAVES = """
SELECT c.oid::regclass::text, n.nspname::text, r.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class r
  ON r.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
"""


@dataclass(frozen=True, slots=True)
class Written:
    """One row as it was and as it is: None where it was not there."""

    table: int
    old: str | None
    new: str | None


def install(
    keeper: Connection[tuple[object, ...]],
    jail: Connection[tuple[object, ...]],
    relations: Relations,
) -> None:
    """From here on every row written is noted."""
    numbers = {(one.table.schema, one.table.relation): one.number for one in relations.tables}
    jail.execute(_NOTE.encode())
    keeper.execute(_QUIET.encode())
    for leaf, schema, root in jail.execute(_LEAVES).fetchall():
        number = numbers.get((str(schema), str(root)))
        if number is None:
            continue
        for when, what in (
            ("AFTER INSERT OR UPDATE OR DELETE", "EACH ROW EXECUTE FUNCTION {}.note({})"),
            ("BEFORE TRUNCATE", "EACH STATEMENT EXECUTE FUNCTION {}.emptied({})"),
        ):
            name = " dbmend" if "ROW" in what else " dbmend emptied"
            jail.execute(
                sql.SQL("CREATE TRIGGER {} " + when + " ON {} FOR " + what).format(
                    sql.Identifier(name),
                    sql.SQL(str(leaf)),
                    sql.Identifier(SCHEMA),
                    sql.Literal(str(number)),
                )
            )
