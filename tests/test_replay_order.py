"""What depends on the order of rows in the file is found out by moving them: it is unsteady, and a
statement that says its order is not."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from recovery.localize.cells import learn_unstable
from recovery.model import Act
from recovery.scratch.cluster import Cluster
from tests.replayed import Stage, act, stage, strike

BACKUP = r"""
CREATE TABLE ticket (id int PRIMARY KEY, owner text, note text, weight float8);
INSERT INTO ticket SELECT i, NULL, 'n' || i, CASE i WHEN 1 THEN 1 WHEN 2 THEN 1e16
  WHEN 3 THEN -1e16 ELSE 0 END FROM generate_series(1, 60) i;
CREATE TABLE report (id int PRIMARY KEY, names text, ids int[], total float8);
INSERT INTO report VALUES (1, '', '{}', 0), (2, '', '{}', 0);
CREATE TABLE parted (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
INSERT INTO parted SELECT i, 'v' FROM generate_series(1, 40) i;
CREATE TABLE touched (id int PRIMARY KEY, v text, n int DEFAULT 0);
INSERT INTO touched VALUES (1, 'a', 0), (2, 'b', 0);
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.n := NEW.n + 1; RETURN NEW; END';
CREATE TRIGGER on_it BEFORE UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION count_up();
CREATE TRIGGER off_it BEFORE UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION count_up();
ALTER TABLE touched DISABLE TRIGGER off_it;
CREATE FUNCTION take(who text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r record; BEGIN
  FOR r IN SELECT id FROM ticket WHERE owner IS NULL LOOP
    UPDATE ticket SET owner = who WHERE id = r.id; RETURN;
  END LOOP;
END $$;
"""


@pytest.fixture(scope="module")
def ground(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = stage(scratch, "replay_order", tmp_path_factory.mktemp("replay"), BACKUP)
    yield made
    strike(made)


def unsteady(ground: Stage, *acts: Act) -> set[tuple[str, ...]]:
    """What replaying twice finds: (step, table, column)."""
    plain = ground.play(*acts, run="log")
    moved = ground.play(
        *acts, run="moved", beside="log", shift=timedelta(hours=1, minutes=7), seed=-0.25
    )
    assert plain.failures == moved.failures == {}
    return set(
        ground.ground.facts.execute(
            "SELECT step, replace(\"table\", 'public.', ''), \"column\" FROM unsteady"
        ).fetchall()
    )


def unstable(ground: Stage) -> set[tuple[str, ...]]:
    learn_unstable(ground.ground.facts, "log", "moved")
    rows = ground.ground.facts.execute('SELECT "table", "column" FROM unstable').fetchall()
    return {(str(table).removeprefix("public."), str(column)) for table, column in rows}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ticket SET owner = 'me' WHERE id IN (SELECT id FROM ticket LIMIT 3)",
        "UPDATE ticket SET owner = 'me' WHERE ctid = (SELECT min(ctid) FROM ticket)",
        "WITH t AS (SELECT id FROM ticket ORDER BY owner FETCH FIRST ROW ONLY)"
        " UPDATE ticket SET owner = 'me' FROM t WHERE t.id = ticket.id",
        "SELECT take('me')",
        "DO $$ BEGIN PERFORM take('me'); END $$",
    ],
)
def test_rows_that_come_first_are_not_always_the_same(ground: Stage, statement: str) -> None:
    assert unsteady(ground, act("s", statement)) == {("s", "ticket", "owner")}
    assert unstable(ground) == {("ticket", "owner")}


def test_values_put_together_in_the_order_of_rows(ground: Stage) -> None:
    write = "UPDATE report SET names = (SELECT string_agg(note, ',' {}) FROM ticket) WHERE id = 1"
    assert unsteady(ground, act("s", write.format(""))) == set()
    assert unstable(ground) == {("report", "names")}
    assert unsteady(ground, act("s", write.format("ORDER BY id"))) == set()
    assert unstable(ground) == set()


def test_sums_of_floats(ground: Stage) -> None:
    write = "UPDATE report SET total = (SELECT sum(weight) FROM ticket) WHERE id = 1"
    unsteady(ground, act("s", write))
    assert unstable(ground) == {("report", "total")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ticket SET owner = 'me' WHERE id IN (SELECT id FROM ticket ORDER BY id LIMIT 3)",
        "UPDATE ticket SET owner = 'me' WHERE id < 4",
        "UPDATE report SET total = (SELECT count(*) FROM ticket)",
    ],
)
def test_what_says_its_order_is_steady(ground: Stage, statement: str) -> None:
    assert unsteady(ground, act("s", statement)) == set()
    assert unstable(ground) == set()


def test_what_follows_from_it_is_unsteady_too(ground: Stage) -> None:
    found = unsteady(
        ground,
        act("before", "UPDATE report SET total = 1"),
        act("first", "DELETE FROM parted WHERE id IN (SELECT id FROM parted LIMIT 5)"),
        act("then", "UPDATE ticket SET note = 'gone' WHERE id NOT IN (SELECT id FROM parted)"),
        act("after", "UPDATE report SET names = 'x'"),
    )
    assert found == {
        ("first", "parted", "id"),
        ("first", "parted", "v"),
        ("then", "ticket", "note"),
    }


def test_moving_rows_changes_none(ground: Stage) -> None:
    """No trigger fires, and one that was off stays off."""
    acts = (
        act(
            "s",
            "UPDATE touched SET v = 'c' WHERE id IN (SELECT id FROM touched ORDER BY id LIMIT 1)",
        ),
        act("t", "UPDATE touched SET v = 'd'"),
    )
    assert unsteady(ground, *acts) == set()
    assert ground.effects("moved") == ground.effects("log")
    assert sorted(ground.effects("log"))[-2:] == [
        ("t", "public.touched", '{"id":"2"}', "update", "n", "0", "1"),
        ("t", "public.touched", '{"id":"2"}', "update", "v", "b", "d"),
    ]
