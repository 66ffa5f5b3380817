"""Acts that are told without being run: statements that treat every row by itself, and sums.
Made-up histories of such statements over few rows, each gone otherwise in several ways, told by
what-ifs and by replays of all of it; and an engine that overlooks something is found out.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from recovery.deviation import Deviation, Drop, Insert, Move, Replace
from recovery.model import Act
from recovery.replay import clock
from recovery.replay.whatif import SOUND
from recovery.replay.whatif.alone import moment, setting_of
from recovery.replay.whatif.expressions import Unsure
from recovery.replay.whatif.relations import read_relations
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster
from tests.replayed import START, Stage, stage, strike
from tests.test_whatif import trial
from tests.whatif_fuzz import ALONE

BACKUP = """
CREATE TABLE branch (id int PRIMARY KEY, total numeric(14,2), n int, points bigint);
INSERT INTO branch VALUES (1, 0, 0, 0), (2, NULL, 3, NULL), (3, 1, NULL, 5);
CREATE TABLE account (id int PRIMARY KEY, branch int NOT NULL REFERENCES branch,
  balance numeric(7,2), points int, level smallint NOT NULL, tier varchar(8), open boolean,
  seen timestamptz, code int UNIQUE);
INSERT INTO account SELECT n, 1 + n % 2, n * 10.5, n, n % 3, 'plain', n % 2 = 0, NULL, n
  FROM generate_series(1, 7) n;
CREATE TABLE watched (id int PRIMARY KEY, v int, w int);
INSERT INTO watched VALUES (1, 1, 1), (2, 2, 2);
CREATE TABLE peak (id int PRIMARY KEY, v int);
INSERT INTO peak VALUES (1, 0);
CREATE FUNCTION rise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE peak SET v = v + NEW.v - OLD.v; RETURN NULL; END $$;
CREATE TRIGGER rises AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION rise();
CREATE TABLE checked (id int PRIMARY KEY, v int CHECK (v < 30), w int);
INSERT INTO checked VALUES (1, 1, 1), (2, 2, 2);
CREATE TABLE entry (id int PRIMARY KEY, account int REFERENCES account ON DELETE CASCADE,
  amount numeric(9,2));
"""


@pytest.fixture(scope="module")
def backup(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = stage(scratch, "backup_alone", tmp_path_factory.mktemp("alone"), BACKUP)
    yield made
    strike(made)


def _where(chance: random.Random) -> str:
    number = chance.randint(1, 8)
    return chance.choice(
        (
            *(f"id = {number}",) * 6,
            f"branch = {chance.randint(1, 2)}",
            f"id IN ({number}, 3) AND balance < {number * 9}.5",
            f"balance > {number * 10} AND points <> {number}",
            f"NOT open OR points BETWEEN 2 AND {number}",
            f"tier = 'gold' AND balance <= {number * 20}",
            "balance IS NULL",
            f"level >= 2 AND id <> {number}",
        )
    )


def _setting(chance: random.Random) -> str:
    amount = f"{chance.randint(1, 900) / 100:.2f}"
    return chance.choice(
        (
            *(f"balance = balance + {amount}", f"balance = balance - {amount}") * 3,
            f"balance = round(balance * 1.{chance.randint(1, 99):02}, {chance.randint(0, 2)})",
            f"balance = balance * {amount}, seen = now()",
            f"points = points + {chance.randint(1, 5)}",
            "points = points * 2 - level, seen = CURRENT_TIMESTAMP",
            "points = balance * 1.5",
            f"level = level + 1, tier = '{chance.choice(('gold', 'plain', 'a b', ''))}'",
            "level = level * 1000",
            "open = balance > 40",
            "open = NOT open, balance = NULL",
            f"balance = {amount}",
        )
    )


def _statement(chance: random.Random) -> str:
    kind = chance.random()
    number = chance.randint(1, 8)
    branch = chance.randint(1, 3)
    if kind < 0.55:
        return f"UPDATE account SET {_setting(chance)} WHERE {_where(chance)}"
    if kind < 0.7:
        of = chance.choice(("sum(balance)", "coalesce(sum(balance), 0)"))
        where = f"branch = {branch}" + chance.choice(("", " AND open", " AND tier = 'gold'"))
        sets = chance.choice(
            (
                *(f"total = (SELECT {of} FROM account WHERE {where})",) * 3,
                f"n = (SELECT count(*) FROM account a WHERE {where})",
                f"points = (SELECT sum(points) FROM account WHERE {where})",
            )
        )
        return f"UPDATE branch SET {sets} WHERE id = {branch}"
    table = chance.choice(("watched", "checked"))
    entry = chance.randint(1, 400)
    return chance.choice(
        (
            f"UPDATE {table} SET v = v + {number} WHERE id = {chance.randint(1, 2)}",
            f"UPDATE {table} SET v = v * 2, w = w + 1 WHERE id = 1",
            f"UPDATE checked SET w = w + v WHERE id = {chance.randint(1, 2)}",
            f"INSERT INTO entry VALUES ({entry}, {number}, 5)",
            f"INSERT INTO entry SELECT {entry}, id, balance FROM account WHERE id = {number}",
            f"DELETE FROM account WHERE id = {number} AND level < 2",
            f"INSERT INTO account VALUES ({number}, 1, 5.00, 1, 1, NULL, true, NULL, {number})",
            f"UPDATE account SET code = code + 10 WHERE id = {number}",
            f"UPDATE account SET branch = {chance.randint(1, 3)} WHERE id = {number}",
            f"UPDATE branch SET total = total + 1 WHERE id = {branch}",
        )
    )


def _act(chance: random.Random, name: str) -> Act:
    many = chance.choice((1, 1, 1, 2, 3))
    return Act(name, tuple(_statement(chance) for _ in range(many)), START, "one")


def _deviation(chance: random.Random, acts: tuple[Act, ...]) -> Deviation:
    one = chance.choice(acts[: len(acts) * 2 // 3])
    match chance.randrange(5):
        case 0 | 1:
            return Drop(one.id)
        case 2:
            return Replace(one.id, _act(chance, one.id).statements)
        case 3:
            return Move(one.id, chance.choice([other.id for other in acts if other is not one]))
        case _:
            fresh = replace(_act(chance, "new"), at=START + timedelta(minutes=500))
            return Insert(one.id, fresh)


def _case(seed: int) -> tuple[tuple[Act, ...], list[Deviation]]:
    chance = random.Random(f"alone {seed}")
    acts = tuple(_act(chance, f"s{n}") for n in range(24))
    return acts, [_deviation(chance, acts) for _ in range(6)]


SEEDS = range(8)


def test_what_is_told_without_running_is_what_a_whole_replay_tells(backup: Stage) -> None:
    computed = told = 0
    for seed in SEEDS:
        backup.know({})
        acts, deviations = _case(seed)
        found = trial(backup, *acts)
        with found.whatif as whatif:
            for deviation in deviations:
                found.same(deviation)
                told += len(whatif.reran)
                computed += whatif.computed
    assert computed > told / 4, "hardly anything was told without running it"


# For each, a seed at which an engine that overlooks it is wrong.
FOUND_OUT = {"onlookers": 0, "companions": 0, "parts": 4, "constants": 4}


@pytest.mark.parametrize("name", ALONE)
def test_an_engine_that_overlooks_something_is_found_out(backup: Stage, name: str) -> None:
    """By a history that the sound one tells rightly."""
    assert overlooked(backup, name, FOUND_OUT[name])


def overlooked(backup: Stage, name: str, seed: int) -> bool:
    backup.know({})
    acts, deviations = _case(seed)
    found = trial(backup, *acts, dependence=replace(SOUND, **{name: False}))
    with found.whatif:
        for deviation in deviations:
            fast, told = found.fast(deviation)
            if told is not None and fast != found.slow(deviation)[0]:
                return True
    return False


PLAIN = """
CREATE TABLE plain (id int PRIMARY KEY, i2 smallint, i4 int, i8 bigint, d numeric, e numeric(6,2),
  t text, v varchar(4), b boolean, m timestamptz);
"""
VALUES = {
    "i2": ("0", "-7", "32767", "3"),
    "i4": ("1", "2147483647", "-2147483648", "0", "41"),
    "i8": ("9223372036854775807", "5", "-12", "3000000000"),
    "d": ("0.10", "-3.5", "1e20", "'NaN'", "7", "-0.005", "0.00"),
    "e": ("9999.99", "-0.01", "12.5", "0"),
    "t": ("''", "'a b'", "'q\"\\'", "'NULL'", "'ж'", "'(x,y)'"),
    "v": ("'abcd'", "''", "' '", "'x'"),
    "b": ("true", "false"),
    "m": ("'2026-01-02 03:04:05.600+03'", "'infinity'"),
}


def _number(chance: random.Random, depth: int = 2) -> str:
    kind = chance.random()
    if depth == 0 or kind < 0.3:
        return chance.choice(("i2", "i4", "i8", "d", "e", "3", "-2", "0.25", "1.005", "2147483648"))
    if kind < 0.4:
        return f"round({_number(chance, depth - 1)}, {chance.randint(0, 3)})"
    if kind < 0.45:
        return f"- ({_number(chance, depth - 1)})"
    sign = chance.choice("++-*")
    return f"({_number(chance, depth - 1)} {sign} {_number(chance, depth - 1)})"


def _condition(chance: random.Random, depth: int = 2) -> str:
    if depth and chance.random() < 0.5:
        return chance.choice(
            (
                f"({_condition(chance, depth - 1)} AND {_condition(chance, depth - 1)})",
                f"({_condition(chance, depth - 1)} OR {_condition(chance, depth - 1)})",
                f"NOT {_condition(chance, depth - 1)}",
            )
        )
    number = _number(chance, 1)
    sign = chance.choice(("=", "<>", "<", ">", "<=", ">=", "!="))
    return chance.choice(
        (
            f"{number} {sign} {_number(chance, 1)}",
            f"{number} BETWEEN {_number(chance, 0)} AND {_number(chance, 0)}",
            f"{number} IN (1, 3, {_number(chance, 0)})",
            f"t = {chance.choice(VALUES['t'])}",
            f"v <> {chance.choice(VALUES['v'])}",
            "i4 = '41'",
            f"{chance.choice(list(VALUES))} IS {chance.choice(('', 'NOT '))}NULL",
            "b",
            "b = (d > 1)",
        )
    )


def _assignment(chance: random.Random) -> str:
    column = chance.choice(list(VALUES))
    fixed = chance.choice((*VALUES[column], "NULL"))
    match column:
        case "t" | "v":
            value = chance.choice((fixed, "t", "v"))
        case "b":
            value = chance.choice((fixed, _condition(chance)))
        case "m":
            value = chance.choice((fixed, "now()", "CURRENT_TIMESTAMP", "m"))
        case _:
            value = chance.choice((fixed, _number(chance), _number(chance)))
    return f"{column} = {value}"


def test_expressions_are_computed_as_the_server_computes_them(backup: Stage) -> None:
    """Where they are computed here at all; and that is most of the time."""
    chance = random.Random(5)
    database = backup.ground.template
    with (
        backup.ground.cluster.connect(database) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute(PLAIN.encode())
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        path = clock.search_path(connection)
        query = sql.SQL("SELECT {}").format(clock.moment(START, path))
        connection.execute(query)
        schema = read_schema(connection)
        relations = read_relations(connection, schema, schema)
        number = relations.numbers["public.plain"]
        computed = matched = 0
        for _ in range(1500):
            values = ", ".join(chance.choice((*some, "NULL")) for some in VALUES.values())
            connection.execute(
                f"DELETE FROM plain; INSERT INTO plain VALUES (1, {values})".encode()
            )
            (text,) = connection.execute("SELECT plain::text FROM plain").fetchone() or ("",)
            statement = f"UPDATE plain SET {_assignment(chance)}"
            if chance.random() < 0.6:
                statement += f" WHERE {_condition(chance)}"
            setting = setting_of(statement, relations)
            if setting is None:
                continue
            try:
                told = setting.result(relations.tables[number], str(text), moment(START))
            except Unsure:
                continue
            computed += 1
            matched += told is not None
            try:
                with connection.transaction():
                    connection.execute(clock.pin(statement).encode())
            except psycopg.Error as error:
                # Such a statement fails whatever the rows are: no act that succeeded has it.
                connection.execute("DELETE FROM plain")
                with pytest.raises(type(error)), connection.transaction():
                    connection.execute(clock.pin(statement).encode())
                continue
            (found,) = connection.execute("SELECT plain::text FROM plain").fetchone() or ("",)
            assert found == (told or text), f"{statement} of {text}"
    assert computed > 700
    assert matched > 300


WATCHED = """
CREATE TABLE free (id int PRIMARY KEY, v int, w int);
CREATE TABLE derived (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE bounded (id int PRIMARY KEY, v int, w int, CHECK (v > 0));
CREATE TABLE single (id int PRIMARY KEY, v int UNIQUE, w int);
CREATE TABLE pointing (id int PRIMARY KEY, v int REFERENCES free, w int);
CREATE TABLE indexed (id int PRIMARY KEY, v int, w int);
CREATE INDEX ON indexed ((1 / v));
CREATE TABLE guarded (id int PRIMARY KEY, v int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE keyless (id int, v int);
CREATE TABLE split (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE split_1 PARTITION OF split DEFAULT;
CREATE VIEW shown AS SELECT * FROM free;
CREATE TABLE heard (id int PRIMARY KEY, v int);
CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER hears AFTER UPDATE ON heard EXECUTE FUNCTION hear();
CREATE FUNCTION round(int, text) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""
SEEN = (
    *(
        f"UPDATE {table} SET v = 5 WHERE id = 1"
        for table in (
            *("derived", "bounded", "single", "pointing", "indexed", "guarded", "keyless"),
            *("split", "split_1", "shown", "heard", "missing"),
        )
    ),
    "UPDATE free SET id = 5",
    "UPDATE free SET v = 5 FROM bounded WHERE bounded.id = free.id",
    "UPDATE free SET v = 5 WHERE id = (SELECT 1)",
    "UPDATE free SET v = 5 RETURNING v",
    "WITH a AS (SELECT 1) UPDATE free SET v = 5",
    "UPDATE free SET v = random()",
    "UPDATE free SET v = v / 2",
    "UPDATE free SET v = round(1.5, 1)",  # there is one of this name in the database
    "UPDATE free SET v = DEFAULT",
    "UPDATE free SET (v, w) = (1, 2)",
    "UPDATE free SET v = other.v",
    "DELETE FROM free",
    "UPDATE free SET v = 1; UPDATE free SET v = 2",
    "UPDATE free SET v = ",
)
UNSEEN = (
    "UPDATE free SET v = 5, w = v + 1 WHERE id = 1 AND (w > 2 OR v IS NULL)",
    "UPDATE free AS f SET v = f.v * 2 WHERE f.id IN (1, 2)",
    *(f"UPDATE {table} SET w = v" for table in ("bounded", "single", "pointing", "indexed")),
)


def test_only_what_nothing_else_sees_is_told_without_running(
    scratch: Cluster, tmp_path: Path
) -> None:
    ready = stage(scratch, "seen", tmp_path, WATCHED)
    try:
        with scratch.connect("seen") as connection:
            schema = read_schema(connection)
            relations = read_relations(connection, schema, schema)
    finally:
        strike(ready)
    assert [text for text in SEEN if setting_of(text, relations) is not None] == []
    assert [text for text in UNSEEN if setting_of(text, relations) is None] == []
