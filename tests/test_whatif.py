"""A what-if that runs only affected acts again says exactly what a replay of everything says.

Every case goes wrong in an engine that leaves out the one thing it is named after; the oracle is
the slow way, and the relations are compared whole.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from recovery.deviation import Deviation, Drop, Insert, Move, Replace, deviate
from recovery.model import Act, Forecast
from recovery.replay.run import Laboratory
from recovery.replay.whatif import SOUND, Dependence, WhatIf, open_whatif
from recovery.scratch.cluster import Cluster
from tests.replayed import Stage, act, stage, strike

BACKUP = r"""
CREATE TABLE account (id int PRIMARY KEY, owner text, balance numeric(12,2) NOT NULL
  CHECK (balance >= 0), flag boolean DEFAULT false, email text UNIQUE);
INSERT INTO account SELECT n, 'o' || n % 3, 100, false, 'e' || n FROM generate_series(1, 12) n;
CREATE TABLE entry (id serial PRIMARY KEY, account int REFERENCES account ON DELETE CASCADE
  ON UPDATE CASCADE, amount numeric(12,2), note text);
INSERT INTO entry (account, amount) SELECT n, 100 FROM generate_series(1, 12) n;
CREATE TABLE tag (id int PRIMARY KEY, account int REFERENCES account ON DELETE SET NULL, v text);
INSERT INTO tag VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, 'c');
CREATE TABLE total (owner text PRIMARY KEY, amount numeric(12,2), n int DEFAULT 0);
INSERT INTO total SELECT DISTINCT owner, 0::numeric FROM account;

CREATE TABLE limits (name text PRIMARY KEY, most int);
INSERT INTO limits VALUES ('stock', 50);
CREATE TABLE stock (id int PRIMARY KEY, n int, capped boolean DEFAULT false);
INSERT INTO stock VALUES (1, 10, false), (2, 20, false), (3, 30, false);
CREATE FUNCTION cap() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.n > (SELECT most FROM limits WHERE name = 'stock') THEN
    NEW.n := (SELECT most FROM limits WHERE name = 'stock'); NEW.capped := true;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER cap BEFORE UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION cap();
CREATE TABLE audit (id bigserial PRIMARY KEY, what text, item int, n int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what, item, n) VALUES (TG_OP, NEW.id, NEW.n); RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE OF n ON stock FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE line (id int PRIMARY KEY, item int REFERENCES stock, n int);
CREATE FUNCTION book() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE stock SET n = n - NEW.n WHERE id = NEW.item; RETURN NULL; END $$;
CREATE TRIGGER book AFTER INSERT ON line FOR EACH ROW EXECUTE FUNCTION book();

CREATE TABLE computed (id int PRIMARY KEY, a int, b int, c int GENERATED ALWAYS AS (a * b) STORED);
INSERT INTO computed VALUES (1, 2, 3), (2, 4, 5);
CREATE TABLE part (id int, day date, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO part VALUES (1, '2026-01-05', 1), (2, '2026-02-05', 2);
CREATE TABLE bag (a int, b text);
INSERT INTO bag VALUES (1, 'x'), (1, 'x'), (2, NULL);
CREATE VIEW several AS SELECT * FROM bag WHERE a > 1;
CREATE TABLE chain (id int PRIMARY KEY, next int REFERENCES chain DEFERRABLE INITIALLY DEFERRED);
INSERT INTO chain VALUES (1, NULL);
CREATE TABLE slot (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO slot VALUES (1, 1), (2, 2);
CREATE VIEW rich AS SELECT id, owner, balance FROM account WHERE balance > 150;
CREATE TABLE counter (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
CREATE SEQUENCE ticket;
CREATE TABLE drawn (name text PRIMARY KEY, ticket int);
CREATE TABLE named (t text, v int);
INSERT INTO named VALUES ('1', 1), ('2', 2);
CREATE TABLE kinds (id int PRIMARY KEY, t timestamptz, f float8, j jsonb, b bytea, a text[]);
INSERT INTO kinds VALUES (1, '2026-01-01 10:00+00', 0.1, '{"a": [1]}', '\x00ff', '{"a b",NULL}');
"""


@pytest.fixture(scope="module")
def backup(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = stage(scratch, "backup", tmp_path_factory.mktemp("whatif"), BACKUP)
    yield made
    strike(made)


@pytest.fixture
def ground(backup: Stage) -> Stage:
    """Without what other histories have issued."""
    backup.know({})
    return backup


Row = tuple[object, ...]


class Trial:
    """One base run, asked both ways."""

    def __init__(self, ground: Stage, acts: tuple[Act, ...], dependence: Dependence = SOUND):
        self.ground = ground
        self.history = tuple(
            Act(one.id, one.statements, one.at + timedelta(minutes=n), one.transaction)
            for n, one in enumerate(acts)
        )
        self.laboratory = Laboratory(ground.ground)
        base = self.laboratory.run(self.history, "base")
        assert base is not None
        self.base = base
        self.whatif: WhatIf = open_whatif(ground.ground, self.history, base, dependence=dependence)

    def rows(self, name: str) -> list[Row]:
        return self.ground.ground.facts.execute(
            'SELECT "table", key, "column", base, value, act FROM forecast WHERE name = ?'
            " ORDER BY ALL",
            [name],
        ).fetchall()

    def slow(self, *deviations: Deviation) -> tuple[list[Row], Forecast | None]:
        deviant = deviate(self.history, deviations)
        told = self.laboratory.forecast_slowly(self.base, self.history, deviant, "slow")
        return self.rows("slow"), told

    def fast(self, *deviations: Deviation) -> tuple[list[Row], Forecast | None]:
        told = self.whatif.forecast(deviate(self.history, deviations), "fast")
        return self.rows("fast"), told

    def same(self, *deviations: Deviation) -> list[Row]:
        """Asked both ways; the rows of the forecast."""
        fast, told = self.fast(*deviations)
        slow, known = self.slow(*deviations)
        assert told is not None, self.whatif.refusal
        assert known is not None
        assert fast == slow
        assert told.rows == known.rows
        return fast


def trial(ground: Stage, *acts: Act, dependence: Dependence = SOUND) -> Trial:
    return Trial(ground, acts, dependence)


def reran(found: Trial) -> tuple[str, ...]:
    return found.whatif.reran


CASES: dict[str, tuple[tuple[Act, ...], tuple[Deviation, ...], tuple[str, ...]]] = {
    "nothing is otherwise": ((act("a", "UPDATE tag SET v = 'z'"),), (), ()),
    "a later write of another row stays out": (
        (
            act("a", "UPDATE account SET balance = balance + 10 WHERE id = 1"),
            act("b", "UPDATE account SET balance = balance * 2 WHERE id = 2"),
            act("c", "UPDATE account SET balance = balance * 2 WHERE id = 1"),
        ),
        (Drop("a"),),
        ("c",),
    ),
    "phantom": (
        (
            act("a", "UPDATE account SET balance = 50 WHERE id = 3"),
            act("b", "UPDATE account SET flag = true WHERE balance >= 100"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "a row that is selected no more": (
        (
            act("a", "UPDATE account SET balance = 500 WHERE id = 3"),
            act(
                "b",
                "INSERT INTO total SELECT 'rich', sum(balance) FROM account WHERE balance > 400",
            ),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "trigger that reads another table": (
        (
            act("a", "UPDATE limits SET most = 15"),
            act("b", "UPDATE stock SET n = 25 WHERE id = 1"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "trigger that writes another table": (
        (
            act("a", "UPDATE stock SET n = 40 WHERE id = 2"),
            act("b", "INSERT INTO line VALUES (1, 2, 5)"),
            act("c", "INSERT INTO line VALUES (2, 3, 5)"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "cascade": (
        (
            act("a", "INSERT INTO entry (account, amount) VALUES (4, 7)"),
            act("b", "DELETE FROM account WHERE id = 4"),
            act("c", "DELETE FROM account WHERE id = 5"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "set null": (
        (
            act("a", "UPDATE tag SET account = 6 WHERE id = 3"),
            act("b", "DELETE FROM account WHERE id = 6"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "unique conflict disappears": (
        (
            act("a", "UPDATE account SET email = 'taken' WHERE id = 1"),
            act("b", "UPDATE account SET email = 'taken' WHERE id = 2"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "unique conflict appears": (
        (
            act("a", "UPDATE account SET email = 'free' WHERE id = 10"),
            act("b", "INSERT INTO account VALUES (20, 'n', 1, false, 'e10')"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "check fails in one world only": (
        (
            act("a", "UPDATE account SET balance = balance + 100 WHERE id = 7"),
            act("b", "UPDATE account SET balance = balance - 150 WHERE id = 7"),
            act("c", "UPDATE account SET balance = balance - 10 WHERE id = 7"),
        ),
        (Drop("a"),),
        ("b", "c"),
    ),
    "a failing act succeeds": (
        (
            act("a", "UPDATE account SET balance = 5 WHERE id = 7"),
            act("b", "UPDATE account SET balance = balance - 50 WHERE id = 7"),
            act("c", "UPDATE account SET balance = balance - 50 WHERE id = 8"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "on conflict": (
        (
            act("a", "INSERT INTO total VALUES ('new', 1)"),
            act(
                "b",
                "INSERT INTO total VALUES ('new', 2) ON CONFLICT (owner) DO UPDATE"
                " SET amount = total.amount + excluded.amount",
            ),
            act("c", "INSERT INTO total VALUES ('other', 2) ON CONFLICT DO NOTHING"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "on conflict do nothing": (
        (
            act("a", "INSERT INTO total VALUES ('newer', 1)"),
            act("b", "INSERT INTO total VALUES ('newer', 2) ON CONFLICT DO NOTHING"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "generated column": (
        (
            act("a", "UPDATE computed SET a = 7 WHERE id = 1"),
            act("b", "UPDATE computed SET b = 100 WHERE c > 20"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "row movement": (
        (
            act("a", "UPDATE part SET day = '2026-02-20' WHERE id = 1"),
            act("b", "UPDATE part SET v = v + 10 WHERE day >= '2026-02-01'"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "another key": (
        (
            act("a", "UPDATE account SET id = 100 WHERE id = 9"),
            act("b", "UPDATE account SET balance = 1 WHERE id = 9"),
            act("c", "UPDATE account SET balance = 2 WHERE id = 100"),
        ),
        (Drop("a"),),
        ("b", "c"),
    ),
    "numbers that nobody takes": (
        (
            act("a", "UPDATE tag SET v = 'k' WHERE id = 1"),
            act("b", "INSERT INTO counter (v) VALUES ('x'), ('y')"),
            act("c", "UPDATE counter SET v = (SELECT v FROM tag WHERE id = 1)"),
        ),
        (Drop("a"),),
        ("c",),
    ),
    "no key": (
        (
            act("a", "INSERT INTO bag VALUES (1, 'x'), (3, 'y')"),
            act("b", "UPDATE bag SET b = 'z' WHERE a = 1"),
            act("c", "DELETE FROM bag WHERE b IS NULL"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "a view of rows without a key": (
        (
            act("a", "UPDATE several SET b = 'n' WHERE b = 'x'"),
            act("b", "INSERT INTO bag VALUES (2, 'x')"),
        ),
        (Insert("", act("more", "UPDATE several SET b = 'm' WHERE a = 2")),),
        ("more",),
    ),
    "rows without a key that come later": (
        (
            act("a", "UPDATE named SET v = v + 1 WHERE t = '1'"),
            act("b", "UPDATE named SET t = '1' WHERE v = 2"),
            act("c", "INSERT INTO named VALUES ('1', 2), ('1', 2)"),
        ),
        (Drop("a"),),
        ("b", "c"),
    ),
    "truncate": (
        (
            act("a", "INSERT INTO tag VALUES (9, 1, 'n')"),
            act("b", "TRUNCATE tag"),
            act("c", "INSERT INTO tag VALUES (9, 1, 'late')"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "a truncate that did not happen": (
        (
            act("a", "TRUNCATE tag"),
            act("b", "UPDATE tag SET v = 'b'"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "ids keep": (
        (
            act("a", "INSERT INTO entry (account, amount) VALUES (1, 1)"),
            act("b", "INSERT INTO entry (account, amount) VALUES (2, 2)"),
            act("c", "INSERT INTO counter (v) VALUES ('x')"),
            act("d", "INSERT INTO counter (v) VALUES ('y')"),
        ),
        (Drop("a"), Drop("c")),
        (),
    ),
    "a sequence of its own": (
        (
            act("a", "INSERT INTO drawn VALUES ('a', nextval('ticket'))"),
            act("b", "INSERT INTO drawn VALUES ('b', nextval('ticket'))"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "a new insert takes a number": (
        (
            act("a", "INSERT INTO entry (account, amount) VALUES (1, 1)"),
            act("b", "INSERT INTO entry (account, amount) VALUES (2, 2)"),
        ),
        (Insert("", act("n", "INSERT INTO entry (account, amount) VALUES (3, 3)")),),
        ("n", "a", "b"),
    ),
    "deferred constraint": (
        (
            act("a", "INSERT INTO chain VALUES (2, 1)"),
            act("b", "INSERT INTO chain VALUES (4, 3); INSERT INTO chain VALUES (3, 2)"),
            act("c", "UPDATE slot SET place = 3 - place"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "view": (
        (
            act("a", "UPDATE account SET balance = 200 WHERE id = 2"),
            act("b", "INSERT INTO total SELECT 'v', sum(balance) FROM rich"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "insert from an aggregate": (
        (
            act("a", "INSERT INTO entry (account, amount) VALUES (2, 11)"),
            act(
                "b",
                "UPDATE total SET amount = (SELECT sum(e.amount) FROM entry e"
                " JOIN account a ON a.id = e.account WHERE a.owner = total.owner)",
            ),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "writable cte": (
        (
            act("a", "UPDATE account SET balance = 30 WHERE id = 3"),
            act(
                "b",
                "WITH gone AS (DELETE FROM account WHERE balance < 50 RETURNING owner, balance)"
                " UPDATE total SET amount = amount + (SELECT sum(balance) FROM gone)",
            ),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "do block": (
        (
            act("a", "UPDATE limits SET most = 1"),
            act(
                "b",
                "DO $$ BEGIN EXECUTE 'UPDATE stock SET n = (SELECT most FROM limits)"
                " WHERE id = 1'; END $$",
            ),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "failure in the middle": (
        (
            act("a", "UPDATE account SET balance = 5 WHERE id = 1"),
            act(
                "b",
                "UPDATE tag SET v = 'first' WHERE id = 1;"
                " UPDATE account SET balance = balance - 50 WHERE id = 1;"
                " UPDATE tag SET v = 'third' WHERE id = 2",
            ),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "each by itself": (
        (
            act("a", "UPDATE account SET balance = 5 WHERE id = 11"),
            act(
                "b",
                "UPDATE tag SET v = 'first' WHERE id = 1;"
                " UPDATE account SET balance = balance - 50 WHERE id = 11;"
                " UPDATE tag SET v = 'third' WHERE id = 2",
                transaction="each",
            ),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "blind overwrite cleans": (
        (
            act("a", "UPDATE account SET balance = 5 WHERE id = 12"),
            act("b", "UPDATE account SET balance = 10 WHERE id = 12"),
            act("c", "UPDATE account SET balance = balance + 1 WHERE id = 12"),
        ),
        (Drop("a"),),
        ("b",),
    ),
    "later": (
        (
            act("a", "UPDATE account SET balance = balance + 10 WHERE id = 1"),
            act("b", "UPDATE account SET balance = balance * 2 WHERE id = 1"),
            act("c", "UPDATE account SET balance = balance * 2 WHERE id = 2"),
        ),
        (Move("a", "b"),),
        ("b", "a"),
    ),
    "earlier": (
        (
            act("a", "UPDATE account SET balance = balance + 10 WHERE id = 1"),
            act("b", "UPDATE account SET balance = balance * 2 WHERE id = 1"),
            act("c", "UPDATE account SET balance = balance * 2 WHERE id = 2"),
        ),
        (Move("b", ""),),
        ("b", "a"),
    ),
    "several": (
        (
            act("a", "UPDATE account SET balance = balance + 10 WHERE owner = 'o1'"),
            act("b", "UPDATE account SET balance = balance * 2 WHERE id = 1"),
            act("c", "DELETE FROM account WHERE id = 2"),
            act("d", "UPDATE account SET balance = balance + 1 WHERE id = 2"),
        ),
        (
            Replace("a", ("UPDATE account SET balance = balance + 10",)),
            Drop("c"),
            Insert("d", act("e", "DELETE FROM tag")),
        ),
        ("a", "d", "e"),
    ),
    "a column that nobody reads": (
        (
            act("a", "UPDATE account SET owner = 'zz' WHERE id = 1"),
            act("b", "UPDATE account SET flag = true WHERE balance > 50 AND id > 6"),
            act("c", "INSERT INTO total SELECT 'sum', sum(balance) FROM account"),
        ),
        (Drop("a"),),
        (),
    ),
    "clock and chance": (
        (
            act("a", "UPDATE kinds SET f = 2 WHERE id = 1"),
            act("b", "UPDATE kinds SET t = now(), f = f + random() WHERE id = 1"),
            act(
                "c",
                'UPDATE kinds SET j = j || \'{"n": "x\\"y"}\', a = a || \'{q,""}\' WHERE id = 1',
            ),
        ),
        (Drop("a"),),
        ("b", "c"),
    ),
    "insert before all": (
        (act("b", "UPDATE account SET balance = balance * 2 WHERE id = 1"),),
        (Insert("", act("n", "UPDATE account SET balance = 7 WHERE id < 3")),),
        ("n", "b"),
    ),
    "a syntax error and prose": (
        (
            act("a", "UPDATE account SET balance = 1 WHERE id = 1"),
            act("b", "UPDATE account SET balance = balance + 1 WHERE id = 1"),
        ),
        (Replace("a", ("UPDATE account SET nothing = 1",)),),
        ("a", "b"),
    ),
}


GROUP = 8  # cases in one history: a base is dear, a what-if is not
GROUPS = [list(CASES)[start : start + GROUP] for start in range(0, len(CASES), GROUP)]


def named(case: int, name: str) -> str:
    return f"{case}{name}"


def renamed(deviation: Deviation, case: int, before: str) -> Deviation:
    """The same in a history of several cases; `before` is the last act of the case before."""

    def behind(after: str) -> str:
        return named(case, after) if after else before

    match deviation:
        case Replace(name, statements):
            return Replace(named(case, name), statements)
        case Drop(name):
            return Drop(named(case, name))
        case Insert(after, more):
            return Insert(behind(after), replace(more, id=named(case, more.id)))
        case Move(name, after):
            return Move(named(case, name), behind(after))


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_the_fast_way_says_what_the_slow_way_says(ground: Stage, names: list[str]) -> None:
    """Each case by itself runs again just the acts that can tell; all of them at once are laid
    beside a whole replay."""
    acts: list[Act] = []
    deviations: list[tuple[Deviation, ...]] = []
    for number, name in enumerate(names):
        before = acts[-1].id if acts else ""
        some, wanted, _ = CASES[name]
        deviations.append(tuple(renamed(one, number, before) for one in wanted))
        acts += [replace(one, id=named(number, one.id)) for one in some]
    found = trial(ground, *acts)
    with found.whatif:
        alone: dict[str, tuple[str, ...]] = {}
        for number, name in enumerate(names):
            _, told = found.fast(*deviations[number])
            assert told is not None, (name, found.whatif.refusal)
            own = str(number)
            alone[name] = tuple(one[1:] for one in reran(found) if one.startswith(own))
        assert alone == {name: CASES[name][2] for name in names}
        together = [one for some in deviations for one in some]
        rows = found.same(*together)
        assert found.fast(*together)[0] == rows  # nothing is left of the first time


REFUSED: dict[str, tuple[tuple[Act, ...], tuple[Deviation, ...], str]] = {
    "the order of rows": (
        (
            act("a", "UPDATE account SET balance = 7 WHERE id = 3"),
            act(
                "b",
                "INSERT INTO total SELECT string_agg(owner, ''), 1 FROM account WHERE balance > 50",
            ),
        ),
        (Drop("a"),),
        "b depends on the order in which rows lie",
    ),
    "numbers given in the order of rows": (
        (act("a", "UPDATE stock SET n = 1 WHERE id = 1"),),
        (Replace("a", ("UPDATE stock SET n = 1",)),),
        "a numbers rows in the order in which they lie",
    ),
    "another definition behind it": (
        (
            act("a", "UPDATE tag SET v = 'z'"),
            act("b", "ALTER TABLE tag ADD more int"),
            act("c", "UPDATE tag SET v = 'y' WHERE id = 1"),
        ),
        (Drop("a"),),
        "it begins before definitions were changed",
    ),
    "a session that was set": (
        (
            act("a", "UPDATE tag SET v = 'z'"),
            act("b", "SET search_path = public; UPDATE tag SET v = v || v"),
        ),
        (Drop("a"),),
        "b cannot be run again: variable_set_stmt",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_left_to_the_slow_way(ground: Stage, name: str) -> None:
    acts, deviations, why = REFUSED[name]
    found = trial(ground, *acts)
    with found.whatif:
        assert found.fast(*deviations)[1] is None
        assert found.whatif.refusal == why


def test_which_row_gets_which_number_may_be_left_open(ground: Stage) -> None:
    """Whoever only compares suppositions is told all but that."""
    acts, (deviation,), _ = REFUSED["numbers given in the order of rows"]
    found = trial(ground, *acts)
    with found.whatif:
        rows, _ = found.slow(deviation)
        deviant = deviate(found.history, [deviation])
        assert found.whatif.forecast(deviant, "loose", exact=False) is not None
        numbered = [row for row in rows if row[0] == "public.audit"]
        told = found.rows("loose")
        assert [row for row in told if row[0] != "public.audit"] == [
            row for row in rows if row[0] != "public.audit"
        ]
        assert {row[1] for row in told if row[2] == "" and row[0] == "public.audit"} == {
            row[1] for row in numbered if row[2] == ""
        }


def test_what_comes_behind_another_definition_is_told(ground: Stage) -> None:
    found = trial(
        ground,
        act("a", "ALTER TABLE account ADD more int DEFAULT 3"),
        act("b", "UPDATE account SET more = 4 WHERE id = 1"),
        act("c", "UPDATE account SET balance = balance + more"),
    )
    with found.whatif:
        found.same(Drop("b"))
        assert reran(found) == ("c",)


def test_who_wrote_a_cell_before_another_definition_is_told(ground: Stage) -> None:
    """What was written up to there is looked at by nobody here; decoding saw it."""
    found = trial(
        ground,
        act("a", "INSERT INTO tag VALUES (9, 1, 'x')"),
        act("b", "UPDATE tag SET v = 'y' WHERE id = 2"),
        act("c", "CREATE INDEX ON tag (v)"),
        act("d", "UPDATE tag SET v = v || '!'"),
    )
    with found.whatif:
        found.same(Drop("d"))
        assert [row[-1] for row in found.rows("fast")] == ["d", "b", "d", "a"]  # rows 1, 2, 3, 9


def test_columns_may_be_called_as_we_call_rows(ground: Stage) -> None:
    """Their names win over those that our own statements give to whole rows."""
    sums = "UPDATE total SET n = (SELECT sum(v) FROM named) WHERE owner = (SELECT v FROM tag)"
    found = trial(
        ground,
        act("a", "DELETE FROM tag WHERE id > 1"),
        act("b", "UPDATE tag SET v = 'o1'"),
        act("c", sums),
        act("d", "INSERT INTO named VALUES ('3', 4)"),
        act("e", "TRUNCATE kinds"),
    )
    with found.whatif:
        assert [row[4] for row in found.same(Replace("b", ("UPDATE tag SET v = 'o2'",)))][-1] == "3"
        found.same(Drop("e"))


def test_the_laboratory_asks_both_and_tells_one(ground: Stage) -> None:
    """The fast way where it can tell, the slow way where it cannot."""
    found = trial(
        ground,
        act("a", "UPDATE account SET balance = 7 WHERE id = 3"),
        act("b", "UPDATE stock SET n = n + 1 WHERE id < 3"),
    )
    found.whatif.close()
    with closing(Laboratory(ground.ground, patience=0)) as laboratory:
        shuffled = "UPDATE stock SET n = 9 WHERE id IN (SELECT id FROM stock LIMIT 1)"
        for deviation in (Drop("a"), Replace("b", (shuffled,))):
            deviant = deviate(found.history, [deviation])
            assert laboratory.forecast(found.base, found.history, deviant, "either")
            assert found.slow(deviation)[0] == found.rows("either") != []
        assert ground.ground.cluster.exists("replay_whatif")


def test_the_laboratory_opens_what_ifs_when_they_are_worth_it(ground: Stage) -> None:
    found = trial(ground, act("a", "UPDATE account SET balance = 7 WHERE id = 3"))
    found.whatif.close()
    with closing(Laboratory(ground.ground, patience=2)) as laboratory:
        for opened in (False, False, True, True):
            assert laboratory.forecast(found.base, found.history, (), "either")
            assert found.slow(Drop("a"))[0] == found.rows("either") != []
            assert ground.ground.cluster.exists("replay_whatif") is opened
    assert not ground.ground.cluster.exists("replay_whatif")


def test_a_capture_that_does_not_add_up_is_not_trusted(ground: Stage) -> None:
    history = (act("a", "UPDATE account SET balance = 7 WHERE id = 3"),)
    base = Laboratory(ground.ground).run(history, "base")
    assert base is not None
    ground.ground.facts.execute("DELETE FROM effect WHERE run = 'base'")
    with open_whatif(ground.ground, history, base) as whatif:
        assert whatif.forecast((), "fast") is None
        assert whatif.refusal == (
            "public.account was captured otherwise by decoding than by triggers"
        )


@pytest.fixture
def extras(ground: Stage) -> Iterator[None]:
    """Entries that only the current state has: two of the history, and one more."""
    facts = ground.ground.facts
    for number, account, amount in ((13, 1, "1.00"), (14, 2, "2.00"), (40, 3, "3.00")):
        row = {"id": str(number), "account": str(account), "amount": amount, "note": None}
        facts.execute(
            "INSERT INTO divergence VALUES ('public.entry', ?, 'extra', '', NULL, ?)",
            [f'{{"id":"{number}"}}', json.dumps(row)],
        )
    yield
    facts.execute("DELETE FROM divergence")


def test_rows_that_take_keys_of_the_current_state_are_left_to_the_slow_way(
    ground: Stage, extras: None
) -> None:
    """A row left out frees a key that nobody else takes; a row like one that only the current
    state has takes its key, and only a whole replay says so."""
    found = trial(
        ground,
        act("a", "INSERT INTO entry (account, amount) VALUES (1, 1)"),
        act("b", "INSERT INTO entry (account, amount) VALUES (2, 2)"),
        act("c", "UPDATE entry SET note = 'late' WHERE account = 1"),
    )
    with found.whatif:
        found.same(Drop("a"))
        found.same(Replace("a", ("INSERT INTO entry (account, amount) VALUES (9, 9)",)))
        like = Replace("a", ("INSERT INTO entry (account, amount) VALUES (3, 3)",))
        assert found.fast(like)[1] is None
        assert found.whatif.refusal == "keys of its rows are matched with the current state"
        assert [row[1] for row in found.slow(like)[0]][-1] == '{"id":"40"}'


def test_a_table_that_an_act_has_locked_is_not_waited_for(ground: Stage) -> None:
    """TRUNCATE locks its table until the what-if ends; who asks about its rows has no answer."""
    found = trial(
        ground,
        act("a", "UPDATE account SET balance = 7 WHERE id = 3"),
        act("b", "UPDATE entry SET note = 'late' WHERE amount > 50 AND account < 4"),
    )
    with found.whatif:
        found.same(Insert("a", act("t", "TRUNCATE entry")))
