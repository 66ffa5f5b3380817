"""The case database (`case.duckdb`): row-level facts as relations that every stage is a set
operation over. One process writes; readers open it read-only. Column names are stable: users
query them too.

divergence  one row per divergence (diff.parquet)
effect      one row per cell written in a replay: run, step, and the image before and after
unsteady    per step, columns that depend on the order in which the server met the rows
absent      tables (column '') and columns of the backup that the current state has no place for
earlier     where another backup differs from the one the log starts from: `value` is what the
            cell held in that backup; column '' is a row: the whole row as JSON when only that
            backup has it, NULL when it does not have it. A cell without a row here is equal
            where `earlier_told` has (backup, table, column), '' for the presence of rows; else
            nothing is known: not compared, or no such column there. `base`: the same in the
            backup that the log starts from
earlier_backup  every backup of the case and when it was taken (UTC, sorts as text;
            NULL: not known); `backup` is the
            one the log starts from, others are `backup-2` and on, in the order they were given
held        a view: what every backup, as far as told, held in the cells that diverge between
            backup and current; `there` is false where it does not have the row
damage      one row per damaged cell (damage.parquet)
staged      one row per cell (or whole row) that a group would write
"""

from pathlib import Path

import duckdb

from diffing.duck import Setting, connect

SCHEMA = """
CREATE TABLE IF NOT EXISTS divergence (
    "table" VARCHAR NOT NULL, key VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    "column" VARCHAR NOT NULL, backup VARCHAR, current VARCHAR);
CREATE TABLE IF NOT EXISTS effect (
    run VARCHAR NOT NULL, step VARCHAR NOT NULL, ordinal BIGINT NOT NULL,
    "table" VARCHAR NOT NULL, key VARCHAR NOT NULL,
    op VARCHAR NOT NULL,            -- insert | update | delete
    "column" VARCHAR NOT NULL,      -- '' for the row itself: old/new are whole rows as JSON
    old VARCHAR, new VARCHAR);
CREATE TABLE IF NOT EXISTS unsteady (
    step VARCHAR NOT NULL, "table" VARCHAR NOT NULL, "column" VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS absent ("table" VARCHAR NOT NULL, "column" VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS earlier (
    backup VARCHAR NOT NULL, "table" VARCHAR NOT NULL, key VARCHAR NOT NULL,
    "column" VARCHAR NOT NULL, value VARCHAR, base VARCHAR);
CREATE TABLE IF NOT EXISTS earlier_told (
    backup VARCHAR NOT NULL, "table" VARCHAR NOT NULL, "column" VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS earlier_backup (backup VARCHAR NOT NULL, taken_at VARCHAR);
CREATE VIEW IF NOT EXISTS held AS
SELECT d."table", d.key, d."column", d.current, b.backup, b.taken_at,
       gone.key IS NULL AS there,
       CASE WHEN gone.key IS NOT NULL THEN NULL WHEN e.key IS NOT NULL THEN e.value
            ELSE d.backup END AS value
FROM divergence d CROSS JOIN earlier_backup b
LEFT JOIN earlier_told t
       ON t.backup = b.backup AND t."table" = d."table" AND t."column" = d."column"
LEFT JOIN earlier e ON e.backup = b.backup AND e."table" = d."table" AND e.key = d.key
      AND e."column" = d."column"
LEFT JOIN earlier gone ON gone.backup = b.backup AND gone."table" = d."table"
      AND gone.key = d.key AND gone."column" = ''
WHERE d.kind = 'changed' AND (b.backup = 'backup' OR t.backup IS NOT NULL);
CREATE TABLE IF NOT EXISTS damage (
    "table" VARCHAR NOT NULL, key VARCHAR NOT NULL, "column" VARCHAR NOT NULL,
    label VARCHAR NOT NULL, fault VARCHAR NOT NULL, step VARCHAR NOT NULL, cause VARCHAR NOT NULL,
    backup VARCHAR, predicted VARCHAR, current VARCHAR, target VARCHAR,
    grade VARCHAR NOT NULL, "group" VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS staged (
    "group" VARCHAR NOT NULL, "table" VARCHAR NOT NULL, key VARCHAR NOT NULL,
    "column" VARCHAR NOT NULL,      -- '' for a whole row
    seen VARCHAR,                   -- set-cells: the damaged text; delete-rows: the row as JSON
    target VARCHAR);                -- set-cells: the text to write; insert-rows: the row as JSON
"""


def open_facts(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """The case database, made with its relations when it is new. Values stay text throughout:
    no extension is loaded, nothing is fetched."""
    settings: dict[str, Setting] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = connect(str(path), settings, read_only=read_only)
    if not read_only:
        connection.execute(SCHEMA)
    return connection
