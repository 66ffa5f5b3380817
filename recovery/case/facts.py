"""The case database (`case.duckdb`): row-level facts as relations that every stage is a set
operation over. One process writes; readers open it read-only. Column names are stable: users
query them too.

divergence  one row per divergence (diff.parquet)
effect      one row per cell written in a replay: run, step, and the image before and after
unsteady    per step, columns that depend on the order in which the server met the rows
damage      one row per damaged cell (damage.parquet)
staged      one row per cell (or whole row) that a group would write
"""

from pathlib import Path

import duckdb

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
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    connection = duckdb.connect(str(path), read_only=read_only, config=settings)
    if not read_only:
        connection.execute(SCHEMA)
    return connection
