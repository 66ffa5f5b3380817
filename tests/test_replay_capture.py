"""Capture is complete by construction: what row images do not show, or show wrongly.

Each case has rows that only its own handling tells; `set(complete) == {True}` alone would not do,
so the effects are compared whole, and with what the database itself holds after the step."""

import json
from collections.abc import Iterator

import pytest

from recovery.scratch.cluster import Cluster
from tests.replayed import Effect, Played, Stage, act, stage, strike

BACKUP = r"""
CREATE TABLE parent (id serial PRIMARY KEY, name text);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent (name) VALUES ('a'), ('b');
INSERT INTO child VALUES (10, 1), (20, 2);

CREATE TABLE bag (a int, b text);
INSERT INTO bag VALUES (1, 'x'), (1, 'x'), (2, NULL), (3, '');

CREATE TABLE parted (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO parted VALUES (1, '2026-01-05', 'a'), (2, '2026-02-05', 'b');
CREATE TABLE aside (id int, day date, v text, PRIMARY KEY (id, day));
INSERT INTO aside VALUES (9, '2026-03-05', 'z');

CREATE TABLE base (id int PRIMARY KEY, v text);
CREATE TABLE heir (extra text) INHERITS (base);
INSERT INTO base VALUES (1, 'b'); INSERT INTO heir VALUES (2, 'h', 'e');

CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE point2 AS (x int, y int);
CREATE TABLE item (id int PRIMARY KEY, price numeric(10,2), n int, mood mood, at point2,
  total numeric(12,2) GENERATED ALWAYS AS (price * n) STORED);
INSERT INTO item VALUES (1, 1.50, 2, 'sad', '(1,2)'), (2, NULL, 3, 'glad', NULL);
CREATE TABLE priced (price numeric(6,2) PRIMARY KEY, v text);
INSERT INTO priced VALUES (1.50, 'p'), (2, 'q');

CREATE VIEW cheap AS SELECT id, price FROM item WHERE price < 100;
CREATE VIEW names AS SELECT p.id, p.name, c.id AS child
  FROM parent p JOIN child c ON c.parent = p.id;
CREATE FUNCTION rename() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN UPDATE parent SET name = NEW.name WHERE id = OLD.id; RETURN NEW; END';
CREATE TRIGGER rename INSTEAD OF UPDATE ON names FOR EACH ROW EXECUTE FUNCTION rename();
CREATE TABLE ruled (id int PRIMARY KEY, v text);
CREATE TABLE removed (id int, v text);
INSERT INTO ruled VALUES (1, 'a'), (2, 'b');
CREATE RULE keep AS ON DELETE TO ruled DO ALSO INSERT INTO removed VALUES (OLD.id, OLD.v);
CREATE RULE nothing AS ON INSERT TO ruled WHERE NEW.id > 100 DO INSTEAD NOTHING;

CREATE TABLE emptied (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO emptied VALUES (TG_TABLE_NAME); UPDATE child SET parent = NULL;
   RETURN NULL; END';
CREATE TRIGGER note BEFORE TRUNCATE ON parent EXECUTE FUNCTION note();

CREATE TABLE slot (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO slot VALUES (1, 1), (2, 2);

CREATE TABLE family (id int PRIMARY KEY, v text);
CREATE TABLE member (id int PRIMARY KEY, family int REFERENCES family);
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.v := NEW.v || '' '' || TG_NAME; RETURN NEW; END';
CREATE TRIGGER "on" BEFORE UPDATE ON family FOR EACH ROW EXECUTE FUNCTION say();
CREATE TRIGGER "off" BEFORE UPDATE ON family FOR EACH ROW EXECUTE FUNCTION say();
ALTER TABLE family DISABLE TRIGGER "off";
"""


@pytest.fixture(scope="module")
def ground(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = stage(scratch, "replay_capture", tmp_path_factory.mktemp("replay"), BACKUP)
    yield made
    strike(made)


def rows(effects: list[Effect], table: str) -> list[tuple[str, str, str]]:
    """(step, op, key values) of whole rows."""
    return [
        (step, op, ",".join(map(str, json.loads(key).values())))
        for step, name, key, op, column, _, _ in effects
        if name == f"public.{table}" and column == ""
    ]


def cells(effects: list[Effect], table: str) -> list[tuple[str, str, str, str | None, str | None]]:
    """(step, key values, column, old, new) of changed cells."""
    return [
        (step, ",".join(map(str, json.loads(key).values())), column, old, new)
        for step, name, key, op, column, old, new in effects
        if name == f"public.{table}" and op == "update"
    ]


def whole(played: Played) -> None:
    assert played.failures == {}
    assert {step for step, complete in played.complete.items() if not complete} == set()
    assert played.replay.blind == frozenset()


# --- TRUNCATE -------------------------------------------------------------------------------------


def test_truncated_rows_are_deleted_rows(ground: Stage) -> None:
    played = ground.play(
        act("new", "INSERT INTO bag VALUES (4, 'new')"),
        act("t", "TRUNCATE bag"),
        act("again", "INSERT INTO bag VALUES (1, 'x')"),
        act("empty", "TRUNCATE bag, removed"),
    )
    whole(played)
    assert sorted((one[4], one[5]) for one in played.of("t") if one[4] == "") == [
        ("", '{"a":"1","b":"x"}'),
        ("", '{"a":"1","b":"x"}'),
        ("", '{"a":"2","b":null}'),
        ("", '{"a":"3","b":""}'),
        ("", '{"a":"4","b":"new"}'),
    ]
    assert [one[5] for one in played.of("empty") if one[4] == ""] == ['{"a":"1","b":"x"}']
    assert {one[3] for one in played.of("t")} == {"delete"}
    assert played.outcome("t").effects == 5


def test_truncate_cascades_and_its_triggers(ground: Stage) -> None:
    """A trigger before it writes a table that is emptied after that: only the outcome counts."""
    played = ground.play(act("t", "TRUNCATE parent CASCADE"))
    whole(played)
    assert rows(played.effects, "parent") == [("t", "delete", "1"), ("t", "delete", "2")]
    assert rows(played.effects, "child") == [("t", "delete", "10"), ("t", "delete", "20")]
    assert cells(played.effects, "child") == []
    assert [one[6] for one in played.of("t") if one[1] == "public.emptied" and one[4]] == ["parent"]


def test_truncate_restarts_identities(ground: Stage) -> None:
    played = ground.play(
        act("plain", "INSERT INTO parent (name) VALUES ('c')"),
        act(
            "t", "TRUNCATE parent RESTART IDENTITY CASCADE; INSERT INTO parent (name) VALUES ('n')"
        ),
        act("next", "INSERT INTO parent (name) VALUES ('o')"),
    )
    whole(played)
    # The row with the number 1 is there before and after: to a key that is the same row.
    assert cells(played.effects, "parent") == [("t", "1", "name", "a", "n")]
    assert rows(played.effects, "parent") == [
        ("plain", "insert", "3"),
        ("t", "delete", "2"),
        ("t", "delete", "3"),
        ("next", "insert", "2"),
    ]


def test_truncate_of_one_partition_and_in_functions(ground: Stage) -> None:
    played = ground.play(
        act("leaf", "TRUNCATE parted_1"),
        act("inside", "DO $$ BEGIN EXECUTE 'TRUNCATE bag'; END $$"),
        act(
            "back", "SAVEPOINT a; TRUNCATE item; ROLLBACK TO a; UPDATE item SET n = 9 WHERE id = 1"
        ),
        act("kept", "SAVEPOINT a; TRUNCATE priced; RELEASE a; INSERT INTO priced VALUES (7, 'r')"),
        act("root", "TRUNCATE parted"),
        act("only", "TRUNCATE ONLY base"),
        act("undone", "TRUNCATE heir; ROLLBACK"),
        act("alone", "TRUNCATE ruled; INSERT INTO ruled VALUES (5, 'e')", transaction="none"),
        act("fails", "TRUNCATE heir; SELECT 1/0"),
    )
    assert set(played.failures) == {"fails"}
    assert set(played.complete.values()) == {True}
    assert played.replay.blind == frozenset()
    assert rows(played.effects, "parted") == [
        ("leaf", "delete", "1,2026-01-05"),
        ("root", "delete", "2,2026-02-05"),
    ]
    assert len(rows(played.effects, "bag")) == 4
    assert cells(played.effects, "item") == [
        ("back", "1", "n", "2", "9"),
        ("back", "1", "total", "3.00", "13.50"),
    ]
    assert rows(played.effects, "priced") == [
        ("kept", "delete", "1.5"),
        ("kept", "delete", "2"),
        ("kept", "insert", "7"),
    ]
    assert rows(played.effects, "base") == [("only", "delete", "1")]
    assert rows(played.effects, "heir") == []
    assert rows(played.effects, "ruled") == [
        ("alone", "delete", "1"),
        ("alone", "delete", "2"),
        ("alone", "insert", "5"),
    ]


def test_settings_of_the_step_do_not_show_in_what_is_told(ground: Stage) -> None:
    played = ground.play(
        act("t", "SET DateStyle = 'German'; SET search_path = pg_catalog; TRUNCATE public.parted"),
    )
    whole(played)
    assert rows(played.effects, "parted") == [
        ("t", "delete", "1,2026-01-05"),
        ("t", "delete", "2,2026-02-05"),
    ]


# --- definitions ----------------------------------------------------------------------------------


def test_other_types_of_columns_are_other_texts(ground: Stage) -> None:
    played = ground.play(
        act("wider", "ALTER TABLE item ALTER n TYPE bigint"),  # needs the generated column's leave
        act("scale", "ALTER TABLE priced ALTER price TYPE numeric(8,3)"),
        act("after", "UPDATE priced SET v = 'r' WHERE price = 2"),
        act("using", "ALTER TABLE bag ALTER a TYPE text USING 'n' || a"),
        act("added", "ALTER TABLE parent ADD at timestamptz DEFAULT clock_timestamp()"),
        act("upper", "UPDATE parent SET name = upper(name)"),
        act("label", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"),
        act("set", "UPDATE item SET mood = 'glad' WHERE mood = 'blue'"),
    )
    assert set(played.failures) == {"wider"}
    assert set(played.complete.values()) == {True}
    assert cells(played.effects, "priced") == [
        ("scale", "1.5", "price", "1.50", "1.500"),
        ("scale", "2", "price", "2.00", "2.000"),
        ("after", "2", "v", "q", "r"),
    ]
    assert len(rows(played.effects, "bag")) == 8  # without a key another text is another row
    assert cells(played.effects, "parent") == [
        ("upper", "1", "name", "a", "A"),
        ("upper", "2", "name", "b", "B"),
    ]
    # A renamed label changes rows that nobody has written.
    assert cells(played.effects, "item") == [
        ("label", "1", "mood", "sad", "blue"),
        ("set", "1", "mood", "blue", "glad"),
    ]


def test_partitions_that_come_and_go_are_rows(ground: Stage) -> None:
    played = ground.play(
        act("out", "ALTER TABLE parted DETACH PARTITION parted_1"),
        act("drop", "DROP TABLE parted_2"),
        act("in", "ALTER TABLE parted ATTACH PARTITION parted_1"
            " FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"),
    )  # fmt: skip
    whole(played)
    assert rows(played.effects, "parted") == [
        ("out", "delete", "1,2026-01-05"),
        ("drop", "delete", "2,2026-02-05"),
        ("in", "insert", "1,2026-01-05"),
    ]
    attached = ground.play(
        act("in", "ALTER TABLE parted ATTACH PARTITION aside"
            " FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')"),
    )  # fmt: skip
    assert rows(attached.effects, "parted") == [("in", "insert", "9,2026-03-05")]
    assert attached.replay.blind == {"public.aside"}
    assert attached.complete == {"in": False}


def test_a_table_that_its_owner_may_not_read_whole(ground: Stage) -> None:
    """What cannot be laid side by side is not told, and the step has not failed for that."""
    played = ground.play(
        act("policy", "ALTER TABLE bag ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
            " ALTER TABLE bag ALTER a TYPE bigint"),
        act("other", "UPDATE child SET parent = 2"),
    )  # fmt: skip
    assert played.failures == {}
    assert played.complete == {"policy": False, "other": True}
    assert played.outcome("policy").why == "the rows of public.bag were replaced unseen"
    assert played.replay.blind == {"public.bag"}


def test_a_column_that_is_gone_is_told_as_gone(ground: Stage) -> None:
    played = ground.play(
        act("drop", "ALTER TABLE item DROP COLUMN total"),
        act("back", "ALTER TABLE item ADD COLUMN total numeric(12,2)"),
        act("other", "UPDATE child SET parent = 2"),
    )
    assert played.failures == {}
    assert played.complete == {"drop": False, "back": False, "other": True}
    assert played.outcome("drop").why == "public.item has lost total"
    assert played.replay.blind == {"public.item"}
    assert cells(played.effects, "child") == [("other", "10", "parent", "1", "2")]


# --- ways of writing ------------------------------------------------------------------------------


def test_merge_and_conflicts(ground: Stage) -> None:
    played = ground.play(
        act("merge", """MERGE INTO priced p
            USING (VALUES (1.5, 'm'), (2, NULL), (3, 'new')) v (k, t) ON p.price = v.k
            WHEN MATCHED AND v.t IS NULL THEN DELETE
            WHEN MATCHED THEN UPDATE SET v = v.t WHEN NOT MATCHED THEN INSERT VALUES (v.k, v.t)"""),
        act("conflict", "INSERT INTO priced VALUES (1.50, 'c'), (4, 'd')"
            " ON CONFLICT (price) DO UPDATE SET v = priced.v || excluded.v"),
        act("nothing", "INSERT INTO priced VALUES (4, 'e') ON CONFLICT DO NOTHING"),
        act("with", "WITH gone AS (DELETE FROM bag WHERE a = 2 RETURNING a)"
            " INSERT INTO priced SELECT a + 90, 'w' FROM gone"),
    )  # fmt: skip
    whole(played)
    assert rows(played.effects, "priced") == [
        ("merge", "delete", "2"),
        ("merge", "insert", "3"),
        ("conflict", "insert", "4"),
        ("with", "insert", "92"),
    ]
    assert cells(played.effects, "priced") == [
        ("merge", "1.5", "v", "p", "m"),
        ("conflict", "1.5", "v", "m", "mc"),
    ]
    told = {one.step: one.rows for one in played.replay.outcomes}
    assert told == {"merge": 3, "conflict": 2, "nothing": 0, "with": 1}


def test_rules_and_views(ground: Stage) -> None:
    played = ground.play(
        act("also", "DELETE FROM ruled WHERE id = 1"),
        act("instead", "INSERT INTO ruled VALUES (101, 'no'), (3, 'c')"),
        act("view", "UPDATE cheap SET price = 2 WHERE id = 1"),
        act("trigger", "UPDATE names SET name = 'new' WHERE child = 20"),
    )
    whole(played)
    assert rows(played.effects, "ruled") == [("also", "delete", "1"), ("instead", "insert", "3")]
    assert [one[6] for one in played.of("also") if one[1] == "public.removed" and one[4]] == [
        "1", "a"
    ]  # fmt: skip
    assert cells(played.effects, "item") == [
        ("view", "1", "price", "1.50", "2.00"),
        ("view", "1", "total", "3.00", "4.00"),
    ]
    assert cells(played.effects, "parent") == [("trigger", "2", "name", "b", "new")]


def test_deferred_constraints_decide_at_the_end(ground: Stage) -> None:
    played = ground.play(
        act("swap", "UPDATE slot SET place = 3 - place"),
        act("twice", "UPDATE slot SET place = 1"),
        act(
            "mended",
            "UPDATE slot SET place = 1 WHERE id = 1; UPDATE slot SET place = 2 WHERE id = 2",
        ),
    )
    assert set(played.failures) == {"twice"}
    assert cells(played.effects, "slot") == [
        ("swap", "1", "place", "1", "2"),
        ("swap", "2", "place", "2", "1"),
        ("mended", "1", "place", "2", "1"),
        ("mended", "2", "place", "1", "2"),
    ]


def test_numbers_of_a_failed_step_are_gone(ground: Stage) -> None:
    """Sequences do not roll back: a replay that gave numbers twice would give rows other keys."""
    played = ground.play(
        act("no", "INSERT INTO parent (name) VALUES ('x'); SELECT 1/0"),
        act("save", "SAVEPOINT s; INSERT INTO parent (name) VALUES ('y'); ROLLBACK TO s"),
        act("yes", "INSERT INTO parent (name) VALUES ('z')"),
        act("empties", "TRUNCATE child; INSERT INTO parent (name) VALUES ('after')"),
    )
    assert set(played.failures) == {"no"}
    assert rows(played.effects, "parent") == [
        ("yes", "insert", "4"),
        ("empties", "insert", "5"),
    ]


def test_a_trigger_that_was_off_stays_off(ground: Stage) -> None:
    """Rows are borrowed with triggers silent; afterwards only those are on that were."""
    ground.know({"public.family": [{"id": "7", "v": "kept"}]})
    played = ground.play(
        act("child", "INSERT INTO member VALUES (1, 7)"),
        act("touch", "UPDATE family SET v = 'x' WHERE id = 7"),
    )
    whole(played)
    assert cells(played.effects, "family") == [("touch", "7", "v", "kept", "x on")]
