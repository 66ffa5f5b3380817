"""When a hypothesis is believed: what it predicts must be there, and say more than it costs."""

import duckdb
import pytest

from recovery.case.facts import SCHEMA
from recovery.localize.score import ACCEPT, Score, score

RELATIONS = """
CREATE TEMP TABLE forecast (name VARCHAR, "table" VARCHAR, key VARCHAR, "column" VARCHAR,
    base VARCHAR, value VARCHAR, act VARCHAR);
CREATE TEMP TABLE finals ("table" VARCHAR, key VARCHAR, "column" VARCHAR, start VARCHAR,
    came BOOLEAN, there BOOLEAN, value VARCHAR, act VARCHAR, place INTEGER);
CREATE TEMP TABLE unstable ("table" VARCHAR, "column" VARCHAR);
CREATE TEMP TABLE steady ("table" VARCHAR, key VARCHAR, "column" VARCHAR);
CREATE TEMP TABLE clocked ("table" VARCHAR);
CREATE TEMP TABLE complaint (number INTEGER, "table" VARCHAR, key VARCHAR, "column" VARCHAR,
    fine BOOLEAN, should_be VARCHAR, has_value BOOLEAN, answered BOOLEAN);
"""


def scored(*cells, rows=(), unstable=(), clocked=(), bits=0.0, **said):
    """Cells are (faulty, target, current), each in a row of its own, that the base leaves as the
    backup has them; so are rows, as booleans."""
    facts = duckdb.connect()
    facts.execute(SCHEMA)
    facts.execute(RELATIONS)
    for number, (f, t, c) in enumerate(cells):
        facts.execute("INSERT INTO forecast VALUES ('x', 't', ?, 'v', ?, ?, '1')", [number, t, f])
        if c != t:
            facts.execute(
                "INSERT INTO divergence VALUES ('t', ?, 'changed', 'v', ?, ?)", [number, t, c]
            )
    for number, (f, t, c) in enumerate(rows, len(cells)):
        facts.execute(
            "INSERT INTO forecast VALUES ('x', 't', ?, '', ?, ?, '1')",
            [number, str(t).lower(), str(f).lower()],
        )
        if c != t:
            kind = "extra" if c else "missing"
            facts.execute(
                "INSERT INTO divergence VALUES ('t', ?, ?, '', '{}', '{}')", [number, kind]
            )
    for column in unstable:
        facts.execute("INSERT INTO unstable VALUES ('t', ?)", [column])
    for table in clocked:
        facts.execute("INSERT INTO clocked VALUES (?)", [table])
    return score(facts, "x", bits, **said)


HIT, MISS, OTHER = ("2", "1", "2"), ("2", "1", "1"), ("2", "1", "7")


def hits(number, values=3):
    return [(f"f{n % values}", "t", f"f{n % values}") for n in range(number)]


NOTHING = Score(0, 0, 0, 0, 0, 0, 0.0, 0.0)


def test_counts():
    found = scored(HIT, HIT, MISS, OTHER, (None, "1", None), ("2", None, None), ("2", None, "3"))
    assert found == Score(
        hits=3, misses=2, others=2, hit_rows=3, miss_rows=2, values=1, gain=12.0, fit=4.0
    )


def test_rows_count_like_cells():
    found = scored(rows=[(False, True, False), (False, True, True), (True, False, True)])
    assert found == Score(2, 1, 0, 2, 1, 0, gain=8.0, fit=4.0)


def test_what_should_have_been_is_the_other_way_round():
    """As they are today is then what the faulty history leaves."""
    assert scored(HIT, HIT, MISS, meant=True) == scored(HIT, MISS, MISS, meant=False)


def test_times_count_where_nothing_else_wrote_them():
    """The very same time is no coincidence; another one may be the clock's."""
    assert scored(HIT, HIT, MISS, OTHER, unstable=["v"]) == scored(HIT, HIT, MISS)


@pytest.mark.parametrize(("steady", "found"), [([], 0), ([("t", "0", "v")], 1)])
def test_what_the_clock_decides_does_not_count(steady, found):
    facts = duckdb.connect()
    facts.execute(SCHEMA + RELATIONS)
    facts.execute(
        "INSERT INTO forecast VALUES ('x', 't', '0', 'v', '5', '2', '');"
        "INSERT INTO divergence VALUES ('t', '0', 'changed', 'v', '1', '2');"
        "INSERT INTO finals VALUES ('t', '0', 'v', '1', false, true, '5', '1', 1);"
        "INSERT INTO unstable VALUES ('t', 'v')"
    )
    for cell in steady:
        facts.execute("INSERT INTO steady VALUES (?, ?, ?)", cell)
    assert score(facts, "x", 0.0).hits == found


def test_a_cell_of_a_row_that_is_gone_says_nothing():
    facts = duckdb.connect()
    facts.execute(SCHEMA + RELATIONS)
    facts.execute(
        "INSERT INTO forecast VALUES ('x', 't', '1', 'v', '1', '2', ''),"
        " ('x', 't', '2', 'v', '1', '2', ''), ('x', 't', '3', 'v', '1', '2', ''),"
        " ('another', 't', '4', 'v', '1', '2', '');"
        "INSERT INTO divergence VALUES ('t', '1', 'missing', '', '{}', NULL),"
        " ('t', '3', 'extra', '', NULL, '{\"v\":\"2\"}');"
        # Rows 2 and 3 came in the base; only 3 is there.
        "INSERT INTO finals VALUES ('t', '2', '', NULL, true, true, '{}', '1', 1),"
        " ('t', '3', '', NULL, true, true, '{}', '1', 1)"
    )
    assert score(facts, "x", 0.0) == Score(1, 0, 0, 1, 0, 1, 4.0, 4.0)


def test_what_the_base_changed_is_compared_with_the_backup():
    """The base leaves 5 where the backup has 1; today it is 1: a miss of neither but an other."""
    facts = duckdb.connect()
    facts.execute(SCHEMA + RELATIONS)
    facts.execute(
        "INSERT INTO forecast VALUES ('x', 't', '1', 'v', '5', '2', '');"
        "INSERT INTO finals VALUES ('t', '1', 'v', '1', false, false, '5', '1', 1)"
    )
    assert score(facts, "x", 0.0) == Score(0, 0, 1, 0, 0, 0, 0.0, 0.0)


GATES = {
    "nothing predicted": ([], False),
    "one hit": ([HIT], True),
    "only misses": ([MISS], False),
    "one miss is forgiven": ([HIT, MISS], True),
    "two misses of few": ([*[HIT] * 39, MISS, MISS], False),
    "two misses of forty": ([*[HIT] * 40, MISS, MISS], True),
    "three misses of forty": ([*[HIT] * 40, *[MISS] * 3], False),
    "as many others as hits": ([HIT, OTHER], True),
    "more others than hits": ([HIT, OTHER, OTHER], False),
}


@pytest.mark.parametrize("name", GATES)
def test_what_is_predicted_has_to_be_there(name):
    cells, holds = GATES[name]
    assert scored(*cells).holds is holds


@pytest.mark.parametrize("extra", [{"suspect": True}, {"rows_agree": True}])
def test_what_does_not_hold_is_not_saved_by_what_people_say(extra):
    assert scored(*hits(100), *[MISS] * 6, **extra).accepted is False
    assert scored(*hits(100), *[MISS] * 5, **extra).accepted is True


def test_a_row_whose_key_is_a_time_is_not_missed():
    """It may be there under another key."""
    rows = [(True, False, False), (True, False, True)]
    assert scored(rows=rows).misses == 1
    assert scored(rows=rows, clocked=["t"]) == Score(1, 0, 0, 1, 0, 0, 4.0, 4.0)


ACCEPTED = {
    # (cells, options) -> gain in bits
    "two telling rows are too few for a long description": (hits(2), {"bits": 12.0}, -4.0),
    "rows of few values say little": (hits(3, values=2), {"bits": 5.0}, 7.0),
    "just not enough": (hits(3, values=2), {"bits": 5.1}, 6.9),
    "three values tell": (hits(5), {"bits": 3.0}, 27.0),
    "many rows are no more than one statement": (hits(500), {"bits": 30.0}, 10.0),
    "the customer suspects it": (hits(3, values=1), {"bits": 11.0, "suspect": True}, 7.0),
    "nobody does": (hits(3, values=1), {"bits": 11.0}, 1.0),
    "the client reported so many rows": (hits(1), {"bits": 7.0, "rows_agree": True}, 7.0),
    "the log is complete, so it was no other work": (hits(1), {"bits": 13.0, "covered": True}, 7.0),
    "one cell is one row": ([HIT], {"bits": 0.0}, 4.0),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_gain(name):
    cells, options, gain = ACCEPTED[name]
    found = scored(*cells, **options)
    assert found.gain == pytest.approx(gain)
    assert found.accepted is (gain >= ACCEPT - 1e-9)
