"""Exactly these effects: what a replay records, against a real server."""

import csv
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from diffing.model import Table
from recovery.scratch.cluster import Cluster
from recovery.scratch.state import LoadedState
from tests.replayed import Effect, Played, Stage, act, stage, strike

BACKUP = r'''
CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(10,2), touched int DEFAULT 0);
INSERT INTO item VALUES (1, 'one', 10.00, 0), (2, NULL, 20.50, 0), (3, '', NULL, 0);

CREATE TABLE audit (id bigserial PRIMARY KEY, what text, item int);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.touched := coalesce(NEW.touched, 0) + 1; RETURN NEW; END';
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO audit (what, item) VALUES (TG_OP, NEW.id); RETURN NULL; END';
CREATE TABLE watched (id int PRIMARY KEY, name text, touched int);
INSERT INTO watched VALUES (1, 'a', 0);
CREATE TRIGGER touch BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER note AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION note();

CREATE TABLE top (id int PRIMARY KEY);
CREATE TABLE middle (id int PRIMARY KEY, top int UNIQUE
  REFERENCES top ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE leaf (id int PRIMARY KEY, top int
  REFERENCES middle (top) ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO top VALUES (1), (2);
INSERT INTO middle VALUES (10, 1), (20, 2);
INSERT INTO leaf VALUES (100, 1), (200, 2);

CREATE TABLE bag (a int, b text);
INSERT INTO bag VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL);

CREATE TABLE pair (b text, a int, v text, PRIMARY KEY (a, b));
INSERT INTO pair VALUES ('x', 1, 'old');

CREATE SCHEMA "My.Schema";
CREATE TABLE "My.Schema"."Or""der" ("Id.x" numeric PRIMARY KEY, "Value ""q""" text);
INSERT INTO "My.Schema"."Or""der" VALUES (1.50, 'v');

CREATE TABLE parted (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO parted VALUES (1, '2026-01-05', 'a'), (2, '2026-02-05', 'b');

CREATE TABLE large (id int PRIMARY KEY, body text, n int);
ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
INSERT INTO large VALUES (1, repeat('x', 10000), 0);

CREATE TABLE computed (id int PRIMARY KEY, a numeric(10,2), b int,
  total numeric(10,2) GENERATED ALWAYS AS (a * b) STORED,
  at timestamptz, label text GENERATED ALWAYS AS (upper('n' || b::text)) STORED);
INSERT INTO computed (id, a, b) VALUES (1, 1.50, 2), (2, 3, NULL);
CREATE TABLE computed_bag (a int, double int GENERATED ALWAYS AS (a * 2) STORED);
INSERT INTO computed_bag VALUES (1), (1);

CREATE TYPE mood AS ENUM ('sad', 'so so');
CREATE TYPE point3 AS (x int, t timestamptz);
CREATE TABLE types (id int PRIMARY KEY, yes bool, n numeric, m numeric(6,3), f float8, r real,
  ts timestamptz, tz timetz, d date, i interval, raw bytea, list int[], names text[],
  moments timestamptz[], doc jsonb, plain json, c char(5), bits bit(3), u uuid, mood mood,
  p point3, span int4range, ip inet, cash money, words tsvector, x xml);
'''
ODD = 'UPDATE "My.Schema"."Or""der" SET '
# One row of everything; the step's zone must not show in it.
TYPES = r"""INSERT INTO types VALUES (1, true, 1.50, 2, 0.1, 0.1, '2026-01-02 03:04:05.678',
  '03:04+05', '2026-01-02', '1 day 2:03', '\x00ff', '{1,NULL,3}', '{"a b",NULL,"",x}',
  ARRAY['2026-01-02 03:04'::timestamptz], '{"b": 1, "a": [1.0, "\u0436"]}', '{"b" :1}', 'ab',
  B'101', '00000000-0000-0000-0000-00000000000A', 'so so', ROW(1, '2026-01-02 03:04'), '[1,4)',
  '10.0.0.1', 12.5, 'fat cat', '<a/>')"""


@pytest.fixture(scope="module")
def shop(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = stage(scratch, "replay_shop", tmp_path_factory.mktemp("replay"), BACKUP)
    yield made
    strike(made)


def update(
    step: str, table: str, key: str, column: str, old: str | None, new: str | None
) -> Effect:
    return step, table, key, "update", column, old, new


def insert(step: str, table: str, key: str, row: dict[str, str | None]) -> list[Effect]:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    whole: Effect = (step, table, key, "insert", "", None, text)
    return [whole, *((step, table, key, "insert", name, None, v) for name, v in row.items())]


def delete(step: str, table: str, key: str, row: dict[str, str | None]) -> list[Effect]:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    whole: Effect = (step, table, key, "delete", "", text, None)
    return [whole, *((step, table, key, "delete", name, v, None) for name, v in row.items())]


def copy_key(row: dict[str, str | None], number: int) -> str:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return f'{{"#row":"{hashlib.sha256(text.encode()).hexdigest()}","#n":"{number}"}}'


def all_fine(played: Played) -> None:
    assert played.failures == {}
    assert set(played.complete.values()) == {True}
    assert played.replay.blind == frozenset()


def test_plain_writes(shop: Stage) -> None:
    played = shop.play(
        act("u", "UPDATE item SET price = price * 2 WHERE id < 3"),
        act("same", "UPDATE item SET name = name"),
        act(
            "empty",
            "UPDATE item SET name = '' WHERE id = 2; UPDATE item SET name = NULL WHERE id = 3",
        ),
        act("i", "INSERT INTO item VALUES (4, E'q''\"\\n\\r\\n\\\\,;\\t ж', 1, 5)"),
        act("d", "DELETE FROM item WHERE id = 1"),
        act("nothing", "DELETE FROM item WHERE id = 1"),
        act("read", "SELECT * FROM item"),
    )
    all_fine(played)
    odd = "q'\"\n\r\n\\,;\t ж"
    assert played.effects == [
        update("u", "public.item", '{"id":"1"}', "price", "10.00", "20.00"),
        update("u", "public.item", '{"id":"2"}', "price", "20.50", "41.00"),
        update("empty", "public.item", '{"id":"2"}', "name", None, ""),
        update("empty", "public.item", '{"id":"3"}', "name", "", None),
        *insert(
            "i",
            "public.item",
            '{"id":"4"}',
            {"id": "4", "name": odd, "price": "1.00", "touched": "5"},
        ),
        *delete(
            "d",
            "public.item",
            '{"id":"1"}',
            {"id": "1", "name": "one", "price": "20.00", "touched": "0"},
        ),
    ]
    told = {one.step: (one.rows, one.effects) for one in played.replay.outcomes}
    assert told == {
        "u": (2, 2),
        "same": (3, 3),
        "empty": (2, 2),
        "i": (1, 1),
        "d": (1, 1),
        "nothing": (0, 0),
        "read": (0, 0),
    }


def test_what_triggers_write_belongs_to_the_step(shop: Stage) -> None:
    played = shop.play(act("s", "UPDATE watched SET name = 'b'"))
    all_fine(played)
    row: dict[str, str | None] = {"id": "1", "what": "UPDATE", "item": "1"}
    assert played.effects == [
        update("s", "public.watched", '{"id":"1"}', "name", "a", "b"),
        update("s", "public.watched", '{"id":"1"}', "touched", "0", "1"),
        *insert("s", "public.audit", '{"id":"1"}', row),
    ]


def test_foreign_keys_act_over_two_levels(shop: Stage) -> None:
    played = shop.play(
        act("moved", "UPDATE top SET id = 3 WHERE id = 1"),
        act("gone", "DELETE FROM top WHERE id = 2"),
    )
    all_fine(played)
    assert played.effects == [
        *delete("moved", "public.top", '{"id":"1"}', {"id": "1"}),
        *insert("moved", "public.top", '{"id":"3"}', {"id": "3"}),
        update("moved", "public.middle", '{"id":"10"}', "top", "1", "3"),
        update("moved", "public.leaf", '{"id":"100"}', "top", "1", "3"),
        *delete("gone", "public.top", '{"id":"2"}', {"id": "2"}),
        *delete("gone", "public.middle", '{"id":"20"}', {"id": "20", "top": "2"}),
        update("gone", "public.leaf", '{"id":"200"}', "top", "2", None),
    ]


def test_equal_rows_without_a_key_are_told_apart(shop: Stage) -> None:
    played = shop.play(
        act("two", "DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE a = 1 LIMIT 2)"),
        act("back", "INSERT INTO bag VALUES (1, 'x')"),
        act("more", "INSERT INTO bag VALUES (1, 'x'), (1, 'x')"),
        act("same", "UPDATE bag SET b = b"),
        act("changed", "UPDATE bag SET b = '' WHERE a = 2"),
    )
    all_fine(played)
    x: dict[str, str | None] = {"a": "1", "b": "x"}
    null: dict[str, str | None] = {"a": "2", "b": None}
    empty: dict[str, str | None] = {"a": "2", "b": ""}
    assert played.effects == [
        *delete("two", "public.bag", copy_key(x, 1), x),
        *delete("two", "public.bag", copy_key(x, 2), x),
        *insert("back", "public.bag", copy_key(x, 2), x),
        *insert("more", "public.bag", copy_key(x, 1), x),
        *insert("more", "public.bag", copy_key(x, 1), x),
        *delete("changed", "public.bag", copy_key(null, 1), null),
        *insert("changed", "public.bag", copy_key(empty, 1), empty),
    ]


def test_keys_of_several_columns_and_odd_names(shop: Stage) -> None:
    played = shop.play(
        act("v", "UPDATE pair SET v = 'new'"),
        act("key", "UPDATE pair SET b = 'y, \"z'"),
        act("odd", ODD + '''"Value ""q""" = 'w', "Id.x" = 1.5'''),
        act("odder", ODD + '"Id.x" = 2'),
    )
    all_fine(played)
    table = '"My.Schema"."Or""der"'
    assert played.effects == [
        update("v", "public.pair", '{"a":"1","b":"x"}', "v", "old", "new"),
        *delete("key", "public.pair", '{"a":"1","b":"x"}', {"b": "x", "a": "1", "v": "new"}),
        *insert(
            "key",
            "public.pair",
            '{"a":"1","b":"y, \\"z"}',
            {"b": 'y, "z', "a": "1", "v": "new"},
        ),
        update("odd", table, '{"Id.x":"1.5"}', "Id.x", "1.50", "1.5"),
        update("odd", table, '{"Id.x":"1.5"}', 'Value "q"', "v", "w"),
        *delete("odder", table, '{"Id.x":"1.5"}', {"Id.x": "1.5", 'Value "q"': "w"}),
        *insert("odder", table, '{"Id.x":"2"}', {"Id.x": "2", 'Value "q"': "w"}),
    ]


def test_partitions_are_one_table(shop: Stage) -> None:
    played = shop.play(
        act("v", "UPDATE parted SET v = 'c' WHERE id = 1"),
        act("part", "UPDATE parted_2 SET v = 'd'"),
        act("move", "UPDATE parted SET day = '2026-02-06' WHERE id = 1"),
        act(
            "made",
            "CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM ('2026-03-01')"
            " TO ('2026-04-01')",
        ),
        act("new", "INSERT INTO parted VALUES (3, '2026-03-05', 'e')"),
        act("moved", "UPDATE parted SET v = 'f' WHERE id = 3"),
    )
    assert played.failures == {}
    assert played.complete == {
        "v": True, "part": True, "move": True, "made": True, "new": True, "moved": True,
    }  # fmt: skip
    here, there, third = (
        f'{{"id":"{number}","day":"{day}"}}'
        for number, day in ((1, "2026-01-05"), (1, "2026-02-06"), (3, "2026-03-05"))
    )
    assert played.effects == [
        update("v", "public.parted", here, "v", "a", "c"),
        update("part", "public.parted", '{"id":"2","day":"2026-02-05"}', "v", "b", "d"),
        *delete("move", "public.parted", here, {"id": "1", "day": "2026-01-05", "v": "c"}),
        *insert("move", "public.parted", there, {"id": "1", "day": "2026-02-06", "v": "c"}),
        *insert("new", "public.parted", third, {"id": "3", "day": "2026-03-05", "v": "e"}),
        update("moved", "public.parted", third, "v", "e", "f"),
    ]


def test_values_out_of_line_are_whole(shop: Stage) -> None:
    played = shop.play(
        act("n", "UPDATE large SET n = 1"), act("d", "DELETE FROM large"),
    )  # fmt: skip
    all_fine(played)
    row: dict[str, str | None] = {"id": "1", "body": "x" * 10000, "n": "1"}
    assert played.effects == [
        update("n", "public.large", '{"id":"1"}', "n", "0", "1"),
        *delete("d", "public.large", '{"id":"1"}', row),
    ]


def test_generated_columns_are_effects_too(shop: Stage) -> None:
    played = shop.play(
        act("u", "UPDATE computed SET b = 3"),
        act("i", "INSERT INTO computed (id, a, b, at) VALUES (3, 2, 2, '2026-01-01 00:00+03')"),
        act("bag", "UPDATE computed_bag SET a = 2 WHERE ctid = '(0,1)'"),
    )
    all_fine(played)
    one: dict[str, str | None] = {"a": "1", "double": "2"}
    two: dict[str, str | None] = {"a": "2", "double": "4"}
    assert played.effects == [
        update("u", "public.computed", '{"id":"1"}', "b", "2", "3"),
        update("u", "public.computed", '{"id":"1"}', "total", "3.00", "4.50"),
        update("u", "public.computed", '{"id":"1"}', "label", "N2", "N3"),
        update("u", "public.computed", '{"id":"2"}', "b", None, "3"),
        update("u", "public.computed", '{"id":"2"}', "total", None, "9.00"),
        update("u", "public.computed", '{"id":"2"}', "label", None, "N3"),
        *insert(
            "i",
            "public.computed",
            '{"id":"3"}',
            {"id": "3", "a": "2.00", "b": "2", "total": "4.00",
             "at": "2025-12-31 21:00:00+00", "label": "N2"},
        ),
        *delete("bag", "public.computed_bag", copy_key(one, 1), one),
        *insert("bag", "public.computed_bag", copy_key(two, 1), two),
    ]  # fmt: skip


def test_values_read_as_in_a_comparison(shop: Stage, tmp_path: Path) -> None:
    """The text of every type is that of LoadedState.export, whatever the zone of the step."""
    at = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    settings = (
        "SET TimeZone = 'America/New_York'; SET DateStyle = 'German'; SET bytea_output = 'escape';"
        " SET extra_float_digits = -3; SET IntervalStyle = 'iso_8601'; RESET TimeZone;"
        " SET TimeZone = '+05:30'"
    )
    played = shop.play(act("set", settings), act("i", TYPES, at=at))
    all_fine(played)
    table: Table = shop.ground.schema.table("public.types")
    cluster = shop.ground.cluster
    with cluster.connect("replay_shop") as connection:
        connection.execute("SET TimeZone = '<+0530>-05:30'")
        connection.execute(TYPES.encode())
    try:
        path = tmp_path / "rows.csv"
        names = [column.name for column in table.columns]
        LoadedState(cluster, "replay_shop").export(table, names, path)
    finally:
        with cluster.connect("replay_shop") as connection:
            connection.execute("DELETE FROM types")
    with path.open(encoding="utf-8", newline="") as file:
        (exported,) = csv.reader(file)
    assert played.effects == insert(
        "i", "public.types", '{"id":"1"}', dict(zip(names, exported[1:], strict=True))
    )
    assert played.cell("i", "public.types", "yes") == "t"
    assert played.cell("i", "public.types", "ts") == "2026-01-01 21:34:05.678+00"


def test_the_template_stays_as_it_was(shop: Stage, tmp_path: Path) -> None:
    def digest() -> str:
        state = LoadedState(shop.ground.cluster, shop.ground.template)
        summed = hashlib.sha256()
        for table in state.schema.tables:
            path = tmp_path / "rows.csv"
            state.export(table, [column.name for column in table.columns], path)
            summed.update("".join(sorted(path.read_text().splitlines(keepends=True))).encode())
        summed.update(repr(state.schema.sequences).encode())
        return summed.hexdigest()

    before = digest()
    played = shop.play(
        act("all", "UPDATE item SET price = 0; DELETE FROM bag; UPDATE watched SET name = 'z'"),
        act("ddl", "DROP TABLE parted CASCADE; TRUNCATE item"),
    )
    assert played.failures == {}
    assert digest() == before
