"""Steps are outcomes: transactions, failures, settings, changes of definitions, and what the
completeness check must not claim."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from recovery.model import Act, Outcome, Preparation, Sql, Step, StepLog, Variant
from recovery.replay import run
from recovery.replay.history import history
from recovery.replay.run import Laboratory
from recovery.scratch.cluster import Cluster
from tests.replayed import START, Stage, act, stage, strike

BACKUP = r"""
CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 100), s text);
INSERT INTO t VALUES (1, 0, 'a'), (2, 0, 'b');
CREATE TABLE other (id int PRIMARY KEY, t int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE stamped (id int PRIMARY KEY, at timestamptz, day date);
INSERT INTO stamped VALUES (1, '2026-01-01 00:00+00', '2026-01-01');
CREATE TABLE parted (id int, v text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO parted VALUES (1, 'a');
CREATE FUNCTION swallow() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE t SET n = 50 WHERE id = 1;
  BEGIN
    UPDATE t SET s = 'lost';
    RAISE EXCEPTION 'no';
  EXCEPTION WHEN others THEN
    NULL;
  END;
END $$;
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO t VALUES (1000 + NEW.id, 1, ''late''); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION late();
CREATE PROCEDURE commits() LANGUAGE plpgsql AS
  'BEGIN UPDATE t SET n = 1 WHERE id = 1; COMMIT; UPDATE t SET n = 2 WHERE id = 1; END';
CREATE PROCEDURE empties() LANGUAGE plpgsql AS
  'BEGIN INSERT INTO side.t VALUES (1); COMMIT; TRUNCATE side.t; END';
CREATE SCHEMA side;
CREATE TABLE side.t (id int PRIMARY KEY);
"""


@pytest.fixture(scope="module")
def ground(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = stage(scratch, "replay_steps", tmp_path_factory.mktemp("replay"), BACKUP)
    yield made
    strike(made)


def n(step: str, row: int, old: str, new: str) -> tuple[str, ...]:
    return step, "public.t", f'{{"id":"{row}"}}', "update", "n", old, new


SET_1 = "UPDATE t SET n = n + 1 WHERE id = 1"
SET_2 = "UPDATE t SET n = n + 1 WHERE id = 2"
BAD = "UPDATE t SET n = 100 WHERE id = 1"


def test_a_failing_step_leaves_nothing_and_the_next_goes_on(ground: Stage) -> None:
    played = ground.play(
        act("check", SET_1, BAD),
        act("syntax", "UPDAT t SET n = 1", ""),
        act("missing", SET_1, "UPDATE nowhere SET n = 1"),
        act("timeout", "SET statement_timeout = '20ms'; SELECT pg_sleep(5)"),
        act("idle", "SET transaction_timeout = '20ms'; SELECT pg_sleep(1)"),
        act("deferred", "INSERT INTO other VALUES (1, 99)"),
        act("copy", SET_1 + "; COPY t FROM STDIN"),
        act("out", "COPY t TO STDOUT"),
        act("fine", SET_1 + "; SELECT pg_sleep(0.05)"),
    )
    assert played.failures == {
        "check": '23514: new row for relation "t" violates check constraint "t_n_check"',
        "syntax": '42601: syntax error at or near "UPDAT"',
        "missing": '42P01: relation "nowhere" does not exist',
        "timeout": "57014: canceling statement due to statement timeout",
        "idle": "25P04: terminating connection due to transaction timeout",
        "deferred": '23503: insert or update on table "other" violates foreign key constraint'
        ' "other_t_fkey"',
    }
    # Not the server's refusal: the customer had the data.
    assert played.outcome("copy").outcome is Outcome.NOT_REPLAYED
    assert played.outcome("copy").why == "its data is not in the log: COPY FROM STDIN"
    assert played.effects == [n("fine", 1, "0", "1")]
    assert all(played.complete.values())


def test_shapes_of_transactions(ground: Stage) -> None:
    played = ground.play(
        act("one", SET_1, SET_2),
        act("each", SET_1, SET_2, transaction="each"),
        act("each-bad", SET_1, BAD, SET_2, transaction="each"),
        act("none", SET_1, "VACUUM t", transaction="none"),
        act("none-bad", SET_1, BAD, transaction="none"),
        act("vacuum", "VACUUM t"),
        act("after", SET_2),
    )
    assert played.effects == [
        n("one", 1, "0", "1"),
        n("one", 2, "0", "1"),
        n("each", 1, "1", "2"),
        n("each", 2, "1", "2"),
        n("each-bad", 1, "2", "3"),
        n("none", 1, "3", "4"),
        n("none-bad", 1, "4", "5"),
        n("after", 2, "2", "3"),
    ]
    assert set(played.failures) == {"each-bad", "none-bad"}
    # VACUUM only runs outside of a transaction, where nothing can be counted; it writes no rows.
    assert played.complete == {
        "one": True,
        "each": True,
        "each-bad": True,
        "none": True,
        "none-bad": True,
        "vacuum": True,
        "after": True,
    }
    told = {one.step: (one.rows, one.effects) for one in played.replay.outcomes}
    assert told["each"] == (2, 2)
    assert told["each-bad"] == (1, 1)


def test_a_step_with_transactions_of_its_own(ground: Stage) -> None:
    played = ground.play(
        act("script", f"BEGIN; {SET_1}; COMMIT; {SET_2}"),
        act("bad", f"BEGIN; {SET_1}; COMMIT; BEGIN; {SET_2}; {BAD}; COMMIT; {SET_2}"),
        act("back", f"{SET_1}; ROLLBACK; {SET_2}"),
        act("auto", f"{SET_1}; ROLLBACK; BEGIN; {SET_2}; ROLLBACK", transaction="each"),
        act("read", f"BEGIN READ ONLY; {SET_1}; COMMIT"),
        act("level", "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT"),
        act("save", f"{SET_1}; SAVEPOINT a; {SET_2}; {SET_2}; ROLLBACK TO a; {SET_1}; RELEASE a"),
        act("open", f"BEGIN; {SET_1}"),
        act("proc", "CALL commits()"),
        act("after", SET_2),
    )
    assert played.effects == [
        n("script", 1, "0", "1"),
        n("script", 2, "0", "1"),
        n("bad", 1, "1", "2"),
        n("back", 2, "1", "2"),
        n("auto", 1, "2", "3"),
        n("save", 1, "3", "4"),
        n("save", 1, "4", "5"),
        n("open", 1, "5", "6"),
        n("proc", 1, "6", "1"),
        n("proc", 1, "1", "2"),
        n("after", 2, "2", "3"),
    ]
    assert set(played.failures) == {"bad", "read"}
    assert played.failures["read"].startswith("25006")
    assert {step for step, complete in played.complete.items() if not complete} == {"proc"}


def test_settings_stay_in_their_step(ground: Stage) -> None:
    played = ground.play(
        act("set", "SET search_path = side; SET default_transaction_read_only = on;"
            " SET DateStyle = 'German, DMY'; PREPARE p AS SELECT 1; INSERT INTO t VALUES (7)"),
        act("same", "PREPARE p AS SELECT 2; INSERT INTO t VALUES (3, 1, 'c')"),
        act("all", "DISCARD ALL"),
        act("path", "SET LOCAL search_path = side; INSERT INTO t VALUES (8)"),
        act("role", "SET ROLE pg_read_server_files"),
        act("user", "SET SESSION AUTHORIZATION keeper"),
        act("program", "COPY t FROM PROGRAM 'true'"),
        act("file", "SELECT pg_read_file('/etc/passwd')"),
        act("sql", "RESET ALL; UPDATE t SET s = now()::text WHERE id = 2"),
        act("last", SET_1),
    )  # fmt: skip
    assert [one[:3] for one in played.effects if one[4] in ("", "n", "s") and one[3] != "i"] == [
        ("set", "side.t", '{"id":"7"}'),
        ("same", "public.t", '{"id":"3"}'),
        ("same", "public.t", '{"id":"3"}'),
        ("same", "public.t", '{"id":"3"}'),
        ("path", "side.t", '{"id":"8"}'),
        ("sql", "public.t", '{"id":"2"}'),
        ("last", "public.t", '{"id":"1"}'),
    ]
    assert played.cell("sql", "public.t", "s") == "2026-03-01 12:00:00+00"
    assert set(played.failures) == {"role", "user", "program", "file"}
    assert all(
        played.failures[step].startswith("42501") for step in ("role", "user", "program", "file")
    )


def test_the_zone_of_a_step_is_that_of_its_time(ground: Stage) -> None:

    def at(text: str) -> datetime:
        return datetime.fromisoformat(text)

    write = "UPDATE stamped SET at = '2026-05-05 12:00', day = now()::date"
    played = ground.play(
        act("msk", write, at=at("2026-03-02T01:30:00+03:00")),
        act("ny", write, at=at("2026-03-02T01:30:00-04:00")),
        act("india", write, at=at("2026-03-02T01:30:00+05:30")),
        act("back", write, at=at("2026-03-02T01:30:00-03:30")),
        act("utc", write, at=at("2026-03-02T01:30:00+00:00")),
    )
    assert played.failures == {}
    assert [one[6] for one in played.effects if one[4] == "at"] == [
        "2026-05-05 09:00:00+00",
        "2026-05-05 16:00:00+00",
        "2026-05-05 06:30:00+00",
        "2026-05-05 15:30:00+00",
        "2026-05-05 12:00:00+00",
    ]
    assert [one[6] for one in played.effects if one[4] == "day"] == ["2026-03-02"]


def test_images_that_do_not_add_up_are_made_good(ground: Stage) -> None:
    """Not one of these steps has images for all that it did; its rows before and after tell."""
    acts = (
        act("fine", SET_1),
        act("swallowed", "SELECT swallow()"),
        act("late", "INSERT INTO other VALUES (1, 1)"),
        act("temp", "CREATE TEMP TABLE scrap AS SELECT 1 AS a; UPDATE scrap SET a = 2"),
        act(
            "identity", "ALTER TABLE t REPLICA IDENTITY DEFAULT; UPDATE t SET s = 'x' WHERE id < 9"
        ),
        act("later", SET_2),
        act("unlogged", "ALTER TABLE stamped SET UNLOGGED"),
        act("unseen", "DELETE FROM stamped"),
        act("other", "UPDATE other SET t = 2"),
    )
    played = ground.play(*acts)
    assert played.failures == {}
    assert set(played.complete.values()) == {True}
    assert played.replay.blind == frozenset()
    assert played.of("swallowed") == [n("swallowed", 1, "1", "50")]
    assert played.of("identity") == [
        ("identity", "public.t", '{"id":"1"}', "update", "s", "a", "x"),
        ("identity", "public.t", '{"id":"2"}', "update", "s", "b", "x"),
    ]
    assert played.of("later") == [n("later", 2, "0", "1")]
    assert [one[3:] for one in played.of("unseen")] == [
        ("delete", "", '{"id":"1","at":"2026-01-01 00:00:00+00","day":"2026-01-01"}', None),
        ("delete", "id", "1", None),
        ("delete", "at", "2026-01-01 00:00:00+00", None),
        ("delete", "day", "2026-01-01", None),
    ]
    assert {one.step for one in played.replay.outcomes if one.altered} == {"identity", "unlogged"}


def test_what_was_not_seen_is_not_claimed(ground: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_SUSPECTS_MAX", 0)
    played = ground.play(
        act("fine", SET_1),
        act("swallowed2", "SELECT swallow()"),
        act("proc", "CALL empties()"),
        act(
            "moved", "VACUUM FULL other; CREATE INDEX CONCURRENTLY ON other (t)", transaction="none"
        ),
        act("other", "INSERT INTO other VALUES (1, 2)"),
    )
    assert played.failures == {}
    assert played.complete == {
        "fine": True,
        "swallowed2": False,  # an aborted part of a function: counted by the server, not written
        "proc": False,
        "moved": True,
        "other": True,
    }
    assert played.replay.blind == {"side.t"}
    assert played.outcome("proc").why == "the rows of side.t were replaced unseen"
    assert n("swallowed2", 1, "1", "50") in played.effects


def test_changed_definitions(ground: Stage) -> None:
    """Captured whole as long as the columns of the backup are there; else the reason is told."""
    played = ground.play(
        act("table", "CREATE TABLE fresh (a int); INSERT INTO fresh VALUES (1)"),
        act("use", "UPDATE public.fresh SET a = 2; DELETE FROM fresh"),
        act("select", "SELECT 1 AS x INTO picked; UPDATE picked SET x = 2"),
        act("column", "ALTER TABLE t ADD COLUMN extra text DEFAULT 'e'"),
        act("write", "UPDATE t SET extra = 'f', n = 5 WHERE id = 1"),
        act("drop", "ALTER TABLE t DROP COLUMN s"),
        act("after", "UPDATE t SET n = 6 WHERE id = 1"),
        act("gone", "DROP TABLE side.t; DROP SCHEMA side"),
        act("index", "CREATE INDEX ON stamped (day)"),
        act("rename", "ALTER TABLE stamped RENAME TO renamed; DELETE FROM renamed"),
        act("function", "CREATE OR REPLACE FUNCTION swallow() RETURNS void LANGUAGE sql AS ''"),
    )
    assert played.failures == {}
    untold = {step for step, complete in played.complete.items() if not complete}
    assert untold == {"drop", "after", "gone", "rename"}
    assert {one.step: one.why for one in played.replay.outcomes if one.why} == {
        "drop": "public.t has lost s",
        "gone": "side.t is no longer there under this name",
        "rename": "public.stamped is no longer there under this name",
    }
    assert played.replay.blind == {"public.t", "side.t", "public.stamped"}
    assert played.effects == [
        ("write", "public.t", '{"id":"1"}', "update", "n", "0", "5"),
        ("write", "public.t", '{"id":"1"}', "update", "extra", "e", "f"),
    ]
    altered = {one.step for one in played.replay.outcomes if one.altered}
    assert altered == {"table", "select", "column", "drop", "gone", "rename", "function"}


def test_a_step_that_cannot_be_split_is_left_to_the_server(ground: Stage) -> None:
    steps = (Step("s", 1, "", Sql("UPDAT t SET n = 1; UPDATE t SET n = 2"), at=START),)
    acts = history(StepLog(steps), ground.ground.schema, begins=None)
    played = ground.play(*acts)
    assert set(played.failures) == {"s"}
    assert played.effects == []


def test_variants_are_tried_and_taken_back(ground: Stage) -> None:
    acts: tuple[Act, ...] = (
        act("a", SET_1 + "; UPDATE t SET s = random()::text, n = n + 1 WHERE id = 1"),
        act("b", "UPDATE stamped SET at = at + '1 h' WHERE id = 9"),
        act("c", "DELETE FROM t WHERE id = 2"),
    )

    def told(*names: str) -> str:
        shown = (f"CASE WHEN {name} IS NOT NULL THEN concat({name}) END" for name in names)
        return " RETURNING " + ", ".join(shown)

    variants = (
        Variant("a/all", "a", 1, "UPDATE t SET n = n + 1" + told("id", "n"), "public.t", ("n",)),
        Variant("a/bad", "a", 1, "UPDATE t SET n = 100" + told("id", "n"), "public.t", ("n",)),
        Variant("b/all", "b", 0, "UPDATE stamped SET at = at + '1 h', day = NULL"
                + told("id", "at", "day"), "public.stamped", ("at", "day")),
        Variant("c/all", "c", 0, "DELETE FROM t" + told("id"), "public.t", ()),
    )  # fmt: skip

    moved = tuple(
        Act(one.id, one.statements, datetime.fromisoformat("2026-03-01T12:00:00+03:00"))
        for one in acts
    )
    laboratory = Laboratory(ground.ground)
    plain = ground.play(*moved)
    assert plain.failures == {}
    laboratory.sketch(moved, variants)
    rows = ground.ground.facts.execute("SELECT * FROM sketch").fetchall()
    assert sorted(rows, key=str) == sorted(
        [
            ("a/all", "public.t", '{"id":"1"}', "n", "2"),
            ("a/all", "public.t", '{"id":"2"}', "n", "1"),
            ("b/all", "public.stamped", '{"id":"1"}', "at", "2026-01-01 01:00:00+00"),
            ("b/all", "public.stamped", '{"id":"1"}', "day", None),
            ("c/all", "public.t", '{"id":"1"}', "", None),
            ("c/all", "public.t", '{"id":"2"}', "", None),
        ],
        key=str,
    )
    # Variants tried in the history leave no trace: what follows is what a plain replay does.
    assert ground.play(*moved, run="again").effects == plain.effects


def test_preparations_are_silent_and_may_be_refused(ground: Stage) -> None:
    laboratory = Laboratory(ground.ground)
    acts = (act("set", "SET search_path = side"), act("s", SET_1))
    write = Preparation("s", ("INSERT INTO public.other VALUES (5, 1)",), ("public.other",))
    done = laboratory.run(acts, "prepared", write)
    assert done is not None and all(one.complete for one in done.outcomes)
    # The constraint trigger of the table is silent.
    assert {one[:3] for one in ground.effects("prepared")} == {
        ("~preparation", "public.other", '{"id":"5"}'),
        ("s", "public.t", '{"id":"1"}'),
    }
    bad = Preparation("s", ("UPDATE public.t SET n = 1000",), ())
    assert laboratory.run(acts, "refused", bad) is None
    assert ground.effects("refused") == []


def test_no_history_is_run_twice_while_what_it_did_is_there(
    ground: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    plain = run._replay

    def counted(*given: object, **named: object) -> object:
        done.append(given[2])
        return plain(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "_replay", counted)
    laboratory = Laboratory(ground.ground)
    one, two = (act("a", SET_1), act("b", SET_2)), (act("a", SET_1),)
    write = Preparation("a", ("UPDATE t SET n = 7 WHERE id = 1",), ("public.t",))

    first = laboratory.run(one, "first")
    again = laboratory.run(one, "again")
    assert first is not None and again is not None
    assert (again.run, again.outcomes, again.blind) == ("again", first.outcomes, first.blind)
    effects = ground.effects("first")
    assert effects == ground.effects("again") == [n("a", 1, "0", "1"), n("b", 2, "0", "1")]
    laboratory.run(one, "prepared", write)
    laboratory.run(two, "first")
    laboratory.run(two, "again")
    assert ground.effects("first") == ground.effects("again") == [n("a", 1, "0", "1")]
    assert done == ["first", "prepared", "first"]
    # Neither name has it any more, so it is run.
    laboratory.run(one, "again")
    assert ground.effects("again") == effects
    assert done == ["first", "prepared", "first", "again"]

    later = Laboratory(ground.ground)
    later.know(one, again)
    later.run(one, "known")
    assert ground.effects("known") == effects
    assert done == ["first", "prepared", "first", "again"]
