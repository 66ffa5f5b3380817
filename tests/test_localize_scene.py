"""What the history does not explain: every way in which a cell or a row can be left over, and the
nearest thing that is not."""

import duckdb
import pytest

from recovery.case.facts import SCHEMA
from recovery.localize.scene import Scene
from recovery.model import Act, Replay, StepLog
from tests.located import START

HISTORY = (Act("1", ("SELECT 1",), START), Act("2", ("SELECT 2",), START))


def left(*effects, divergences=(), unstable=(), steady=(), clocked=()):
    """Effects are (act, op, column, old, new) of row 1; divergences (kind, column, backup,
    current). Returns (column, kind, backup, predicted, current, act, place)."""
    facts = duckdb.connect()
    facts.execute(SCHEMA)
    facts.execute('CREATE TEMP TABLE unstable ("table" VARCHAR, "column" VARCHAR)')
    facts.execute('CREATE TEMP TABLE steady ("table" VARCHAR, key VARCHAR, "column" VARCHAR)')
    facts.execute('CREATE TEMP TABLE clocked ("table" VARCHAR)')
    for ordinal, (act, op, column, old, new) in enumerate(effects):
        facts.execute(
            "INSERT INTO effect VALUES ('log', ?, ?, 't', '1', ?, ?, ?, ?)",
            [act, ordinal, op, column, old, new],
        )
    for divergence in divergences:
        facts.execute("INSERT INTO divergence VALUES ('t', '1', ?, ?, ?, ?)", divergence)
    for column in unstable:
        facts.execute("INSERT INTO unstable VALUES ('t', ?)", [column])
    for column in steady:
        facts.execute("INSERT INTO steady VALUES ('t', '1', ?)", [column])
    for table in clocked:
        facts.execute("INSERT INTO clocked VALUES (?)", [table])
    Scene(StepLog(()), HISTORY, Replay("log", ()), None, facts).lay_out()
    return facts.execute(
        'SELECT "column", kind, backup, predicted, current, act, place FROM residue ORDER BY ALL'
    ).fetchall()


UPDATE = ("1", "update", "v", "a", "b")
GONE = [("2", "delete", "", "{}", None), ("2", "delete", "v", "a", None)]
CAME = [("2", "insert", "", None, "{}"), ("2", "insert", "v", None, "b")]

CASES = {
    # name: (effects, divergences, residue)
    "nothing": ([], [], []),
    "a cell that nobody wrote": (
        [],
        [("changed", "v", "a", "c")],
        [("v", "changed", "a", "a", "c", "", 0)],
    ),
    "a cell as predicted": ([UPDATE], [("changed", "v", "a", "b")], []),
    "a cell otherwise than predicted": (
        [UPDATE],
        [("changed", "v", "a", "c")],
        [("v", "changed", "a", "b", "c", "1", 1)],
    ),
    "a cell that should have been changed": (
        [UPDATE],
        [],
        [("v", "kept", "a", "b", "a", "1", 1)],
    ),
    "a cell that was changed there and back": (
        [UPDATE, ("2", "update", "v", "b", "a")],
        [],
        [],
    ),
    "a row as predicted: gone": (GONE, [("missing", "", "{}", None)], []),
    "a row that should be gone": (GONE, [], [("", "extra", None, None, None, "2", 2)]),
    "a row that should be there": (
        [],
        [("missing", "", "{}", None)],
        [("", "missing", "{}", "{}", None, "", 0)],
    ),
    "a row that was changed, and then lost": (
        [UPDATE],
        [("missing", "", "{}", None)],
        [("", "missing", "{}", "{}", None, "", 0)],
    ),
    "a row as predicted: new": (CAME, [("extra", "", None, '{"v":"b"}')], []),
    "a row that should have come": (CAME, [], [("", "missing", None, None, None, "2", 2)]),
    "a row that nobody made": (
        [],
        [("extra", "", None, '{"v":"b"}')],
        [("", "extra", None, None, '{"v":"b"}', "", 0)],
    ),
    "a new row with another value": (
        CAME,
        [("extra", "", None, '{"v":"c"}')],
        [("v", "changed", None, "b", "c", "2", 2)],
    ),
    "a new row without the value": (
        CAME,
        [("extra", "", None, '{"v":null}')],
        [("v", "changed", None, "b", None, "2", 2)],
    ),
    "a row that came and went": ([*CAME, ("2", "delete", "", "{}", None)], [], []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_left(name):
    effects, divergences, residue = CASES[name]
    assert left(*effects, divergences=divergences) == residue


def test_what_the_clock_decides_is_not_left_over():
    changed = [("changed", "v", "a", "c")]
    assert left(UPDATE, divergences=changed, unstable=["v"]) == []
    assert left(UPDATE, unstable=["v"]) == []
    assert left(UPDATE, divergences=changed, unstable=["w"]) != []
    assert left(UPDATE, divergences=changed, unstable=["v"], steady=["w"]) == []


def test_but_where_it_decides_nothing():
    changed = [("changed", "v", "a", "c")]
    known = left(UPDATE, divergences=changed)
    assert known != []
    assert left(UPDATE, divergences=changed, unstable=["v"], steady=["v"]) == known


def test_a_row_whose_key_is_a_time_is_not_missed():
    """It may be there under another key; one that is there and nobody made is left over."""
    assert left(*CAME, clocked=["t"]) == []
    extra = [("extra", "", None, "{}")]
    assert left(divergences=extra, clocked=["t"]) == [("", "extra", None, None, "{}", "", 0)]
