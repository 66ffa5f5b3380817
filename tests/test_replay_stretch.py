"""Steps sent together come to the same as steps run one by one: what they write, what they come
to, which numbers they take, and what they leave to the next."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from recovery.model import Act, Outcome, Preparation
from recovery.replay import legs, stretch
from recovery.replay.identity import Row
from recovery.replay.run import Laboratory
from recovery.scratch.cluster import Cluster
from tests.replayed import START, Played, Stage, act, stage, strike

BACKUP = r"""
CREATE TABLE t (id serial PRIMARY KEY, n int CHECK (n < 100), s text);
INSERT INTO t (n, s) VALUES (0, 'a'), (0, 'b');
CREATE SEQUENCE receipts;
CREATE TABLE bag (v text);
CREATE TABLE aside (id int PRIMARY KEY, v text);
INSERT INTO aside VALUES (1, 'x'), (2, 'y');
CREATE TABLE late (id int PRIMARY KEY, t int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE parted (id int, v text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE FUNCTION number_then(text) RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN PERFORM nextval('receipts'); EXECUTE $1; RETURN nextval('receipts'); END $$;
CREATE FUNCTION does(text) RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE $1; RETURN 1; END $$;
CREATE FUNCTION sets(text, text) RETURNS text LANGUAGE sql AS
  $$ SELECT set_config($1, $2, false) $$;
CREATE FUNCTION swallow() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE t SET n = 50 WHERE id = 1;
  BEGIN UPDATE t SET s = 'lost'; RAISE EXCEPTION 'no'; EXCEPTION WHEN others THEN NULL; END;
END $$;
"""
UP = "UPDATE t SET n = n + 1 WHERE id = 1"
NEW = "INSERT INTO t (n, s) VALUES (1, 'new')"
RECEIPT = "INSERT INTO bag SELECT nextval('receipts')::text"
STEADY = tuple(act(f"steady{n}", UP) for n in range(3))
HISTORIES: dict[str, tuple[Act, ...]] = {
    "plain": (
        *STEADY,
        act("two", UP, NEW),
        act("each", UP, NEW, UP, transaction="each"),
        act("returning", "INSERT INTO t (n) VALUES (3), (4) RETURNING id"),
        act("many", "UPDATE t SET n = n + 1; SELECT * FROM t; DELETE FROM t WHERE id = 2"),
        act("chance", "INSERT INTO bag SELECT random()::text || now() FROM t"),
        act("comment", "UPDATE t SET s = 'q;''-- ' -- nothing; \n WHERE id = 1 /* ; */;"),
        act("none", "UPDATE t SET n = 0 WHERE false"),
        act("rows", "INSERT INTO parted VALUES (1, 'a'), (2, 'b')"),
        act("across", "UPDATE parted SET id = 2 WHERE id = 1"),
        act("with", "WITH g AS (DELETE FROM bag RETURNING v) INSERT INTO bag SELECT v FROM g"),
        act("last", RECEIPT),
    ),
    "failing": (
        act("r1", RECEIPT),
        act("check", RECEIPT, NEW, "UPDATE t SET n = 100"),
        act("r2", RECEIPT, NEW),
        act("syntax", UP, "UPDATE t SE n = 1"),
        Act("split", ("UPDATE t SET n = 9; COMMIT; UPDATE t SE n = 1",), START),
        act("r3", RECEIPT),
        act("missing", UP, "SELECT nothing()"),
        act("each-bad", UP, "UPDATE t SET n = 100", UP, transaction="each"),
        act("deferred", "INSERT INTO late VALUES (1, 99)"),
        act("fine", "INSERT INTO late VALUES (2, 98)", "INSERT INTO t VALUES (98, 1, 'late')"),
        Act("open", ("SELECT 'x",), START),
        act("zero", "INSERT INTO bag SELECT (1 / (n - n))::text FROM t"),
        act("r4", RECEIPT, NEW),
    ),
    "looks": (
        act("r1", RECEIPT),
        act("truncates", "SELECT number_then('TRUNCATE aside')"),
        act("r2", RECEIPT),
        act("defines", "SELECT number_then('CREATE TABLE made (a int)')"),
        act("uses", "INSERT INTO made VALUES (1)", RECEIPT),
        act("adds", "SELECT number_then('ALTER TABLE t ADD extra int DEFAULT 7')"),
        act("waits", "SELECT number_then('ALTER TABLE bag ADD UNIQUE (v) DEFERRABLE')"),
        act("r3", RECEIPT, UP),
        act("swallowed", "SELECT swallow()"),
        act("temp", "SELECT number_then('CREATE TEMP TABLE scrap AS SELECT 1 AS a')"),
        act("drops", "SELECT number_then('DROP TABLE parted_2')"),
        act("r4", RECEIPT),
    ),
    "settings": (
        act("only", "SELECT sets('default_transaction_read_only', 'on')"),
        act("writes", UP),
        act("path", "SELECT sets('search_path', 'pg_catalog')", "UPDATE public.t SET n = 3"),
        act("zone", "SELECT sets('TimeZone', 'Asia/Tokyo')", "INSERT INTO bag SELECT now()"),
        act("after", "INSERT INTO bag SELECT now()", UP),
        act("own", "SELECT sets('my.own', '5')", UP, transaction="each"),
        act("seen", "INSERT INTO bag SELECT coalesce(current_setting('my.own', true), '-')"),
        act("kept", "SELECT sets('my.own', '6')",
            "INSERT INTO bag SELECT current_setting('my.own')", transaction="each"),
        act("quotes", "SELECT sets('standard_conforming_strings', 'off')",
            r"INSERT INTO bag VALUES ('a\\b')"),
        act("plain", r"INSERT INTO bag VALUES ('a\\b')"),
        act("locks", "SELECT pg_advisory_lock(1)"),
        act("mark", "INSERT INTO bag SELECT current_setting('dbmend.mark')"),
        act("forgets", "SELECT does('RESET ALL')", "INSERT INTO public.bag VALUES ('reset')"),
        act("timeout", "SELECT sets('statement_timeout', '20')", "SELECT pg_sleep(5)"),
        act("role", "SELECT sets('role', 'pg_monitor')"),
        act("end", UP),
    ),
    "ended": (
        act("r1", RECEIPT, UP),
        act("ends", RECEIPT, "SELECT sets('transaction_timeout', '20')", "SELECT pg_sleep(1)"),
        act("again", RECEIPT, NEW),
        act("now", "INSERT INTO bag SELECT now()"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    found = stage(scratch, "replay_stretch", tmp_path_factory.mktemp("replay"), BACKUP)
    yield found
    strike(found)


def fresh(made: Stage, extras: dict[str, list[Row]] | None = None) -> None:
    """Nothing is known of earlier runs."""
    made.know(extras or {})
    made.ground.suspects.clear()
    made.ground.facts.execute("DROP TABLE IF EXISTS issued")


def one_by_one(made: Stage, *acts: Act) -> Played:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(legs, "legs", lambda act, at: None)
        return made.play(*acts)


def together(made: Stage, *acts: Act) -> tuple[Played, list[str]]:
    """Also the parts that went through in stretches."""
    went: list[str] = []
    run = stretch.Stretches.run

    def noting(self, *given, **named):
        passed, stopped = run(self, *given, **named)
        went.extend(one.leg.name for one in passed)
        return passed, stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch.Stretches, "run", noting)
        return made.play(*acts), went


@pytest.mark.parametrize("name", HISTORIES)
def test_the_same_as_one_by_one(made: Stage, name: str) -> None:
    fresh(made)
    known = one_by_one(made, *HISTORIES[name])
    issued = dict(made.ground.identities.issued)
    fresh(made)
    found, went = together(made, *HISTORIES[name])
    assert found == known
    assert made.ground.identities.issued == issued
    assert len(went) >= 2
    # With numbers that are known from before, too.
    again, _ = together(made, *HISTORIES[name])
    assert again.effects == known.effects


def test_most_steps_go_together(made: Stage) -> None:
    fresh(made)
    found, went = together(made, *HISTORIES["plain"])
    assert set(went) == {one.step for one in found.replay.outcomes} - {"with"} | {
        "each/1",
        "each/2",
    }
    assert all(one.complete for one in found.replay.outcomes)
    fresh(made)
    _, went = together(made, *HISTORIES["looks"])
    assert {"truncates", "defines", "adds", "temp", "drops"}.isdisjoint(went)
    assert {"r1", "r2", "uses", "r3", "swallowed", "r4"} <= set(went)


def test_numbers_are_looked_for_as_one_by_one(made: Stage) -> None:
    extras: dict[str, list[Row]] = {
        "public.t": [
            {"id": "7", "n": "1", "s": "odd"},
            {"id": "9", "n": "1", "s": "even"},
            {"id": "11", "n": "5", "s": "last"},
        ]
    }
    acts = (
        act("up", UP, RECEIPT),
        act("odd", "INSERT INTO t (n, s) VALUES (1, 'odd')", UP),
        act("up2", UP, RECEIPT),
        act("function", "SELECT does($q$INSERT INTO t (n, s) VALUES (1, 'even')$q$)", UP),
        act("nobody", "INSERT INTO t (n, s) VALUES (77, 'none')", UP),
        act("last", "INSERT INTO t (n, s) VALUES (5, 'last')"),
        act("up3", UP, RECEIPT),
    )
    fresh(made, extras)
    known = one_by_one(made, *acts)
    assert [one[2] for one in known.effects if one[1] == "public.t" and one[4] == "s"] == [
        '{"id":"7"}', '{"id":"9"}', '{"id":"10"}', '{"id":"11"}'
    ]  # fmt: skip
    fresh(made, extras)
    found, went = together(made, *acts)
    assert found == known
    assert set(went) == {"up", "up2", "up3"}
    # Found once: then they go together, in this history and in one that lacks some of it.
    again, went = together(made, *acts)
    assert again.effects == known.effects
    assert len(went) == len(acts)
    rest = tuple(one for one in acts if one.id not in ("odd", "nobody"))
    fewer, went = together(made, *rest)
    assert len(went) == len(rest)
    assert fewer.effects == one_by_one(made, *rest).effects


def test_a_preparation_comes_before_its_step(made: Stage) -> None:
    fresh(made)
    change = Preparation("steady1", ("UPDATE public.t SET n = 40 WHERE id = 1",), ())
    assert Laboratory(made.ground).run(STEADY, "prepared", change) is not None
    told = [(one[0], one[6]) for one in made.effects("prepared")]
    assert told == [("steady0", "1"), ("~preparation", "40"), ("steady1", "41"), ("steady2", "42")]


def test_a_step_that_comes_twice(made: Stage) -> None:
    fresh(made)
    found = made.play(*STEADY, *(replace(one) for one in STEADY))
    assert [one.outcome for one in found.replay.outcomes] == [Outcome.DONE] * 6
    assert [one[6] for one in found.effects] == ["1", "2", "3", "4", "5", "6"]
