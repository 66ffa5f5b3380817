"""Rows whose key is a time or a number take the keys of the current state's rows."""

import json
from pathlib import Path

import duckdb
import pytest

from diffing.model import Column, Key, Schema, Table
from recovery.case.facts import open_facts
from recovery.replay.alignment import align
from recovery.replay.identity import Feed

LOG = Table(
    "public",
    "price_note",
    (
        Column("item", "integer", "text"),
        Column("at", "timestamp with time zone", "timestamptz"),
        Column("old", "numeric", "numeric"),
    ),
    Key(("item", "at"), "primary"),
)
NOTE = Table(
    "public",
    "note",
    (Column("id", "integer", "text"), Column("text", "text", "text")),
    Key(("id",), "primary"),
)
SCHEMA = Schema((LOG, NOTE))
FEED = Feed("public.note_id_seq", "public", "note_id_seq", "public.note", "id")


@pytest.fixture
def facts(tmp_path: Path):
    connection = open_facts(tmp_path / "case.duckdb")
    yield connection
    connection.close()


def compact(row: dict[str, str]) -> str:
    return json.dumps(row, separators=(",", ":"))


def current(facts: duckdb.DuckDBPyConnection, table: Table, *rows: dict[str, str]) -> None:
    for row in rows:
        key = compact({name: row[name] for name in table.key.columns})
        facts.execute(
            "INSERT INTO divergence VALUES (?, ?, 'extra', '', NULL, ?)",
            [table.name, key, compact(row)],
        )


def inserted(
    facts: duckdb.DuckDBPyConnection, run: str, table: Table, *rows: dict[str, str]
) -> None:
    for ordinal, row in enumerate(rows):
        key = compact({name: row[name] for name in table.key.columns})
        cells = [("", compact(row)), *row.items()]
        for column, value in cells:
            facts.execute(
                "INSERT INTO effect VALUES (?, 's1', ?, ?, ?, 'insert', ?, NULL, ?)",
                [run, ordinal, table.name, key, column, value],
            )


def rows(facts: duckdb.DuckDBPyConnection, run: str, table: Table) -> list[tuple[str, str]]:
    return facts.execute(
        """SELECT key, new FROM effect WHERE run = ? AND "table" = ? AND "column" = ''
        ORDER BY ALL""",
        [run, table.name],
    ).fetchall()


def test_a_time_known_only_about_becomes_the_time_that_was_there(facts):
    current(facts, LOG, {"item": "7", "at": "2026-03-01 10:00:00.123456+00", "old": "1.50"})
    inserted(facts, "log", LOG, {"item": "7", "at": "2026-03-01 10:00:00+00", "old": "1.50"})
    align(facts, "log", SCHEMA, ())
    row = {"item": "7", "at": "2026-03-01 10:00:00.123456+00", "old": "1.50"}
    key = compact({"item": row["item"], "at": row["at"]})
    assert rows(facts, "log", LOG) == [(key, compact(row))]
    cell = facts.execute("SELECT new FROM effect WHERE \"column\" = 'at'").fetchall()
    assert cell == [("2026-03-01 10:00:00.123456+00",)]


def test_a_row_with_another_value_keeps_its_own_key(facts):
    current(facts, LOG, {"item": "7", "at": "2026-03-01 10:00:00.123456+00", "old": "1.50"})
    row = {"item": "7", "at": "2026-03-01 10:00:00+00", "old": "9.99"}
    inserted(facts, "log", LOG, row)
    align(facts, "log", SCHEMA, ())
    assert rows(facts, "log", LOG) == [
        (compact({"item": "7", "at": "2026-03-01 10:00:00+00"}), compact(row))
    ]


def test_what_one_run_found_out_holds_for_the_same_row_in_another(facts):
    """Else the row as it should be and the row as it is were two rows, and one would be deleted."""
    there = {"item": "7", "at": "2026-03-01 10:00:00.123456+00", "old": "1.65"}
    current(facts, LOG, there)
    inserted(facts, "faulty", LOG, there | {"at": "2026-03-01 10:00:00+00"})
    align(facts, "faulty", SCHEMA, ())
    inserted(facts, "target", LOG, {"item": "7", "at": "2026-03-01 10:00:00+00", "old": "1.50"})
    align(facts, "target", SCHEMA, ())
    assert rows(facts, "target", LOG) == [
        (compact({"item": "7", "at": there["at"]}), compact(there | {"old": "1.50"}))
    ]


def test_numbers_given_in_another_order_are_exchanged(facts):
    current(facts, NOTE, {"id": "1", "text": "b"}, {"id": "2", "text": "a"})
    inserted(facts, "log", NOTE, {"id": "1", "text": "a"}, {"id": "2", "text": "b"})
    align(facts, "log", SCHEMA, (FEED,))
    assert rows(facts, "log", NOTE) == [
        ('{"id":"1"}', '{"id":"1","text":"b"}'),
        ('{"id":"2"}', '{"id":"2","text":"a"}'),
    ]


def test_a_number_that_is_taken_is_given_up(facts):
    current(facts, NOTE, {"id": "1", "text": "b"})
    inserted(facts, "log", NOTE, {"id": "1", "text": "new"}, {"id": "2", "text": "b"})
    align(facts, "log", SCHEMA, (FEED,))
    assert rows(facts, "log", NOTE) == [
        ('{"id":"1"}', '{"id":"1","text":"b"}'),
        ('{"id":"2"}', '{"id":"2","text":"new"}'),
    ]
