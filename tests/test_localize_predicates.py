"""Statements read and rewritten: conditions, what is set, at what it is aimed; constants typed."""

import pytest

from recovery.localize.aims import (
    columns_named,
    faithful_columns,
    first_rows,
    select_like,
    with_column,
    with_table,
)
from recovery.localize.predicates import (
    Condition,
    conditions,
    junctions,
    negated,
    where_with,
    with_condition,
    with_constants,
    with_operator,
)
from recovery.localize.slips import Gap, constant_in, is_near

TEXT = (
    "UPDATE t AS x SET a = 1 FROM s WHERE s.id = x.sid AND 3 < x.n"
    " AND (d BETWEEN date '2026-01-01' AND '2026-02-01' OR n IN (1, 2)) AND w LIKE 'a%'"
)
JOINED = "UPDATE t x SET a = 1 FROM s WHERE s.id = x.sid AND "
BETWEEN = "(d BETWEEN '2026-01-01'::date AND '2026-02-01' OR n IN (1, 2)) AND w LIKE 'a%'"


def test_conditions_are_the_leaves_of_a_where():
    assert conditions(TEXT) == (
        Condition(0, "other", "s.id = x.sid"),
        Condition(1, "compare", "3 < x.n", "x.n", "n", ">", ("3",), True),
        Condition(
            2,
            "between",
            "d BETWEEN '2026-01-01'::date AND '2026-02-01'",
            "d",
            "d",
            "BETWEEN",
            ("2026-01-01", "2026-02-01"),
        ),
        Condition(3, "list", "n IN (1, 2)", "n", "n", "=", ("1", "2"), True),
        Condition(4, "like", "w LIKE 'a%'", "w", "w", "~~", ("a%",)),
    )


def test_a_condition_with_other_constants_or_another_operator():
    _, compared, between, listed, _ = conditions(TEXT)
    assert with_constants(TEXT, compared, ("5",)) == f"{JOINED}5 < x.n AND {BETWEEN}"
    assert with_operator(TEXT, compared, ">=") == f"{JOINED}3 <= x.n AND {BETWEEN}"
    assert "BETWEEN '2026-03-01'::date AND '2026-04-01'" in with_constants(
        TEXT, between, ("2026-03-01", "2026-04-01")
    )
    assert "n IN (7, 8, 9)" in with_constants(TEXT, listed, ("7", "8", "9"))


@pytest.mark.parametrize(
    ("logged", "opposite"),
    [
        ("a IS NULL", "a IS NOT NULL"),
        ("a IN (1, 2)", "a NOT IN (1, 2)"),
        ("a LIKE 'x%'", "a NOT LIKE 'x%'"),
        ("a BETWEEN 1 AND 2", "a NOT BETWEEN 1 AND 2"),
        ("ready", "NOT ready"),
    ],
)
def test_the_opposite_of_a_condition(logged, opposite):
    text = f"DELETE FROM t WHERE {logged}"
    assert negated(text, conditions(text)[0]) == f"DELETE FROM t WHERE {opposite}"


def test_conditions_joined_otherwise():
    found = junctions("DELETE FROM t WHERE a = 1 AND (b = 2 OR c = 3)")
    assert [one.statement for one in found] == [
        "DELETE FROM t WHERE a = 1 OR (b = 2 OR c = 3)",
        "DELETE FROM t WHERE (a = 1 AND b = 2) OR c = 3",
        "DELETE FROM t WHERE a = 1 AND (b = 2 AND c = 3)",
    ]


def test_a_condition_more_and_a_condition_held_to_be_true():
    text = "DELETE FROM t WHERE a = 1 OR b = 2"
    assert with_condition(text, "c <= 5") == "DELETE FROM t WHERE (a = 1 OR b = 2) AND c <= 5"
    assert with_condition("DELETE FROM t", "c <= 5") == "DELETE FROM t WHERE c <= 5"
    assert where_with(text, conditions(text)[0], holds=True) == "true OR b = 2"


def test_what_a_statement_goes_through_and_sets():
    assert select_like(TEXT, "x.id", "true") == "SELECT x.id FROM t x, s WHERE true"
    text = "UPDATE a.t SET p = t.p * 2, q = 5, r = least(r, 4) WHERE s = 3"
    assert with_column(text, "p", "z", throughout=True).startswith("UPDATE a.t SET z = t.z * 2")
    assert with_column(text, "p", "z", throughout=False).startswith("UPDATE a.t SET z = t.p * 2")
    assert with_table(text, "b", "u").startswith("UPDATE b.u t SET p = t.p * 2")
    assert columns_named(text) == {"p", "q", "r", "s"}
    assert faithful_columns(text) == {"p", "q"}
    assert first_rows("INSERT INTO t VALUES (1), (2), (3)", 2) == "INSERT INTO t VALUES (1), (2)"
    assert first_rows("INSERT INTO t SELECT 1", 1) is None


@pytest.mark.parametrize(
    ("low", "high", "logged", "found"),
    [
        ("998", "1003", "100", "1000"),  # a zero more
        ("40.5", "61.5", "100", "50"),  # the roundest
        ("90", "110", "100", "100"),  # the logged one may be
        ("2026-01-30", "2026-02-03", "2026-03-01", "2026-02-01"),
        ("abc", "abd", "xyz", "abd"),  # of texts only what is there
    ],
)
def test_the_likeliest_constant_between_two_values(low, high, logged, found):
    assert constant_in(Gap(low, high, low_in=False, high_in=True), logged) == found


def test_slips():
    assert is_near("17", "71")
    assert is_near("1.10", "11")
    assert is_near("2026-02-01", "2026-01-02")
    assert not is_near("17", "40")
