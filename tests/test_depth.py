"""Recovery depth: grades, rows, words and shares as pure counts over the relation `damage`."""

from datetime import UTC, datetime

import duckdb
import pytest

from recovery.case.facts import open_facts
from recovery.depth import (
    Legitimate,
    Share,
    Taken,
    Totals,
    Word,
    all_safe,
    share,
    table_depths,
    totals,
    words,
)
from recovery.model import Fault, FaultClass, Grade, Label, TableDepth

BACKUP = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
CURRENT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.fixture
def facts(tmp_path):
    with open_facts(tmp_path / "case.duckdb") as connection:
        yield connection


def damage(facts: duckdb.DuckDBPyConnection, *cells: tuple[str, str, str, str, str, str]) -> None:
    """(table, key, column, label, fault, grade)"""
    facts.executemany(
        'INSERT INTO damage ("table", key, "column", label, fault, grade, step, cause, "group")'
        " VALUES (?, ?, ?, ?, ?, ?, '7', 'user', 'g1')",
        cells,
    )


def fault(name: str, probability: float) -> Fault:
    return Fault(name, "7", FaultClass.MISSING_WHERE, (), probability, (), "")


def test_a_row_counts_once_at_its_worst_grade(facts) -> None:
    damage(
        facts,
        ("public.b", '{"id":"1"}', "price", "direct", "f1", "consistent"),
        ("public.b", '{"id":"1"}', "total", "collateral", "f1", "stale"),
        ("public.b", '{"id":"2"}', "price", "direct", "f1", "consistent"),
        ("public.a", '{"id":"9"}', "", "lost-work", "f1", "lost"),
    )
    depths = table_depths(
        facts,
        tables=["public.c"],
        legitimate={"public.b": Legitimate(3, 40), "public.d": Legitimate(0, 1)},
        taken=Taken(BACKUP, CURRENT),
    )
    assert depths == (
        TableDepth(
            "public.a",
            ((Grade.LOST, 1),),
            ((Grade.LOST, 1),),
            ((Label.LOST_WORK, 1),),
            0,
            0,
            BACKUP,
        ),
        TableDepth(
            "public.b",
            ((Grade.CONSISTENT, 2), (Grade.STALE, 1)),
            ((Grade.CONSISTENT, 1), (Grade.STALE, 1)),
            ((Label.DIRECT, 2), (Label.COLLATERAL, 1)),
            3,
            40,
            BACKUP,
        ),
        TableDepth("public.c", (), (), (), 0, 0, CURRENT),
        TableDepth("public.d", (), (), (), 0, 1, CURRENT),
    )
    assert totals(depths) == Totals(
        tables=2,
        cells=((Grade.CONSISTENT, 2), (Grade.STALE, 1), (Grade.LOST, 1)),
        rows=((Grade.CONSISTENT, 1), (Grade.STALE, 1), (Grade.LOST, 1)),
        labels=((Label.LOST_WORK, 1), (Label.DIRECT, 2), (Label.COLLATERAL, 1)),
        legitimate=Legitimate(3, 41),
    )
    assert [all_safe(depth) for depth in depths] == [False, False, True, True]


def test_words_fold_grades_two_by_two() -> None:
    grades = tuple((grade, 10**place) for place, grade in enumerate(Grade))
    assert words(grades) == (
        (Word.EXACTLY, 11),
        (Word.PROBABLY, 1100),
        (Word.DECISION, 10000),
        (Word.LOST, 100000),
    )


def test_safe_damage_recovers_up_to_the_current_state_and_unknown_times_stay_unknown(facts) -> None:
    damage(facts, ("t", "1", "a", "direct", "f", "proven"), ("u", "1", "a", "direct", "f", "stale"))
    assert [
        depth.recovery_point for depth in table_depths(facts, taken=Taken(BACKUP, CURRENT))
    ] == [
        CURRENT,
        BACKUP,
    ]
    assert [depth.recovery_point for depth in table_depths(facts)] == [None, None]


def test_the_exact_share_has_honest_bounds(facts) -> None:
    damage(
        facts,
        *[("t", str(key), "a", "direct", "f1", "proven") for key in range(4)],
        *[("t", str(key), "b", "direct", "f1", "stale") for key in range(4)],
        ("t", "1", "c", "direct", "f2", "undecided"),
        ("t", "2", "c", "direct", "f2", "lost"),
    )
    found = share(facts, [fault("f1", 0.5), fault("f2", 0.9)])
    assert found == Share(lower=0.4, expected=0.6, upper=0.9)


def test_damage_of_a_fault_that_nobody_explains_is_not_expected_back(facts) -> None:
    damage(facts, ("t", "1", "a", "unexplained", "", "derived"))
    assert share(facts, []) == Share(0.0, 0.0, 1.0)


def test_without_damage_there_is_no_share_and_no_depth(facts) -> None:
    assert share(facts, [fault("f1", 1.0)]) is None
    assert table_depths(facts) == ()
    assert totals(()) == Totals(0, (), (), (), Legitimate(0, 0))
