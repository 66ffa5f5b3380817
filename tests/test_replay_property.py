"""Any small history: the backup with the effects laid over it is the database that the same
statements make when they are simply run."""

import json
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recovery.model import Act, TransactionShape
from recovery.scratch.cluster import Cluster
from tests.replayed import START, Effect, Stage, stage, strike

BACKUP = """
CREATE TABLE parent (id int PRIMARY KEY, v text UNIQUE, n numeric(8,2));
CREATE TABLE child (id int, sub numeric, parent int
  REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, v text,
  size int GENERATED ALWAYS AS (length(v)) STORED, PRIMARY KEY (sub, id));
CREATE TABLE bag (what text, size int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bag VALUES (TG_OP, NULL);
  IF TG_OP = 'DELETE' THEN DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON child
  FOR EACH ROW EXECUTE FUNCTION note();
CREATE FUNCTION swallow(which int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE parent SET v = v || 'u' WHERE id = which;
  BEGIN
    DELETE FROM child;
    INSERT INTO parent VALUES (which, 'again', 0);
  EXCEPTION WHEN unique_violation THEN NULL;
  END;
END $$;
INSERT INTO parent VALUES (1, 'a', 1.50), (2, NULL, NULL), (3, '', 3);
INSERT INTO child (id, sub, parent, v) VALUES (1, 1, 1, 'x'), (2, 1.5, 1, NULL), (3, 2.0, 2, '');
INSERT INTO bag VALUES ('x', 1), ('x', 1), (NULL, NULL);
"""
NUMBERS = st.integers(1, 5)
TEXTS = st.sampled_from(["NULL", "''", "'a'", "'b'", "E'q\\'\\n\"'", "'ж,;'"])
TABLES = st.sampled_from(["parent", "child"])
WHERE = st.one_of(
    st.just(""),
    st.builds("WHERE id {} {}".format, st.sampled_from(["=", "<", ">="]), NUMBERS),
    st.builds("WHERE v IS NOT DISTINCT FROM {}".format, TEXTS),
)
STATEMENTS = st.one_of(
    st.builds("INSERT INTO parent VALUES ({}, {}, {}.5)".format, NUMBERS, TEXTS, NUMBERS),
    st.builds(
        "INSERT INTO parent VALUES ({}, {}, 1) ON CONFLICT (id) DO UPDATE SET n = {}".format,
        NUMBERS,
        TEXTS,
        NUMBERS,
    ),
    st.builds(
        "INSERT INTO child (id, sub, parent, v) VALUES ({}, {}.50, {}, {})".format,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        TEXTS,
    ),
    st.builds("UPDATE {} SET v = {} {}".format, TABLES, TEXTS, WHERE),
    st.builds("UPDATE parent SET n = n * {} {}".format, NUMBERS, WHERE),
    st.builds("UPDATE {} SET id = id + {} {}".format, TABLES, NUMBERS, WHERE),
    st.builds("UPDATE child SET parent = {}, sub = sub * 1.0 {}".format, NUMBERS, WHERE),
    st.builds("DELETE FROM {} {}".format, TABLES, WHERE),
    st.just("INSERT INTO bag SELECT v, size FROM child"),
    st.just("DELETE FROM bag WHERE size IS NULL"),
    st.just("UPDATE bag SET size = 1, what = 'x'"),
    # Rows that no image tells.
    st.sampled_from(
        [
            "TRUNCATE child",
            "TRUNCATE bag",
            "TRUNCATE parent CASCADE",
            "DO $$ BEGIN EXECUTE 'TRUNCATE bag'; EXCEPTION WHEN others THEN NULL; END $$",
            "ALTER TABLE parent ALTER n TYPE numeric(9,3)",
            "ALTER TABLE bag ALTER size TYPE text USING 'n' || size",
            "ALTER TABLE child SET UNLOGGED",
            "CREATE TABLE made AS SELECT * FROM child",
            "CLUSTER parent USING parent_pkey",
        ]
    ),
    st.builds("SELECT swallow({})".format, NUMBERS),
)
SHAPES: tuple[TransactionShape, ...] = ("one", "each")
STEPS = st.lists(
    st.tuples(st.lists(STATEMENTS, min_size=1, max_size=3), st.sampled_from(SHAPES)),
    min_size=1,
    max_size=6,
)
Rows = dict[str, dict[str, str | None]]  # by key


@pytest.fixture(scope="module")
def made(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    found = stage(scratch, "replay_any", tmp_path_factory.mktemp("replay"), BACKUP)
    yield found
    strike(found)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history(made: Stage, steps: list[tuple[list[str], TransactionShape]]) -> None:
    history = tuple(
        Act(f"s{place}", tuple(texts), START, shape) for place, (texts, shape) in enumerate(steps)
    )
    made.ground.suspects.clear()
    played = made.play(*history)
    assert all(played.complete.values())
    assert played.replay.blind == frozenset()
    with made.ground.cluster.connect("replay_any") as plain:
        laid = overlay(read(plain), played.effects)
        with plain.transaction(force_rollback=True):
            failed = {one.id for one in history if not simply(plain, one)}
            wanted = read(plain)
    assert set(played.failures) == failed
    assert {name: laid[name] for name in ("parent", "child")} == {
        name: wanted[name] for name in ("parent", "child")
    }
    bags = [Counter(map(compact, state["bag"].values())) for state in (laid, wanted)]
    assert bags[0] == bags[1]


def simply(plain: psycopg.Connection[tuple[object, ...]], one: Act) -> bool:
    """Run as a client would; whether nothing was refused."""
    batches = [one.statements] if one.transaction == "one" else [(s,) for s in one.statements]
    try:
        for batch in batches:
            with plain.transaction():
                for statement in batch:
                    plain.execute(statement.encode())
    except psycopg.Error:
        return False
    return True


KEYS = {"parent": ("id",), "child": ("sub", "id"), "bag": ()}


def read(plain: psycopg.Connection[tuple[object, ...]]) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for name, key in KEYS.items():
        cursor = plain.execute(f"SELECT * FROM {name}".encode())
        columns = [column.name for column in cursor.description or ()]
        rows: Rows = {}
        for values in cursor:
            row = {n: None if v is None else str(v) for n, v in zip(columns, values, strict=True)}
            # Rows without a key are counted, not named.
            shown = {n: trimmed(row[n]) for n in key} if key else row | {"": str(len(rows))}
            rows[compact(shown)] = row
        found[name] = rows
    return found


def compact(row: dict[str, str | None]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def trimmed(text: str | None) -> str | None:
    return text.rstrip("0").rstrip(".") if text and "." in text else text


def overlay(state: dict[str, Rows], effects: list[Effect]) -> dict[str, Rows]:
    """Every old value of an effect must be what is there."""
    bag = Counter(compact(row) for row in state.pop("bag").values())
    row: dict[str, str | None] = {}
    for _, table, key, op, column, old, new in effects:
        name = table.removeprefix("public.")
        if column == "":
            text = new or old
            assert text is not None and (new is None) == (op == "delete") == (old is not None)
            row = json.loads(text)
            if name == "bag":
                bag[text] += 1 if op == "insert" else -1
                assert bag[text] >= 0
            elif op == "insert":
                assert key not in state[name]
                state[name][key] = row.copy()
            else:
                assert state[name].pop(key) == row
        elif op == "update":
            assert state[name][key][column] == old != new
            state[name][key][column] = new
        else:
            assert (old, new) == ((None, row[column]) if op == "insert" else (row[column], None))
    left = enumerate(bag.elements())
    return state | {"bag": {str(place): json.loads(text) for place, text in left}}
