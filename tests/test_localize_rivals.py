"""A wrong value beside its nearest rival: undocumented work on the same rows."""

import duckdb
import pytest

from recovery.localize.rivals import is_slip, last_to_write

SLIPS = {
    ("1.10", "11.0"): True,
    ("0.9", "0.09"): True,
    ("9.75", "97.5"): True,
    ("5", "-5"): True,
    ("3.49", "3490"): True,
    ("1.05", "1.1025"): False,  # the same rise, done twice
    ("0.5", "1.0"): False,
    ("1.10", "1.10"): False,
    ("1.10", "1.01"): False,
    ("4.59", "4.99"): False,
    ("0", "10"): False,
    ("10", "0"): False,
    ("paid", "void"): False,
}


@pytest.mark.parametrize(("logged", "executed"), SLIPS)
def test_slips(logged, executed):
    assert is_slip(logged, executed) is SLIPS[logged, executed]


NOON, LATER = "2026-03-01 12:00:00+00", "2026-03-01 15:00:00+00"


def seen(*cells):
    """Cells are (written by the step, time in the faulty run, time in the current state)."""
    facts = duckdb.connect()
    facts.execute(
        'CREATE TEMP TABLE cell ("table" VARCHAR, key VARCHAR, "column" VARCHAR, f VARCHAR,'
        " c VARCHAR, f_row BOOLEAN, c_row BOOLEAN, by_fault BOOLEAN);"
        'CREATE TEMP TABLE unstable ("table" VARCHAR, "column" VARCHAR);'
        "INSERT INTO unstable VALUES ('t', 'touched')"
    )
    for number, (by_step, faulty, current) in enumerate(cells):
        facts.execute(
            "INSERT INTO cell VALUES ('t', ?, 'touched', ?, ?, true, true, ?)",
            [str(number), faulty, current, by_step],
        )
    return last_to_write(facts)


def test_who_wrote_last():
    mine, theirs, other = (True, NOON, NOON), (True, NOON, LATER), (False, LATER, LATER)
    assert seen() == "unknown"
    assert seen(mine, mine, theirs) == "the step"
    assert seen(theirs, theirs, theirs, other, other, other) == "somebody"
    assert seen(theirs, theirs, theirs) == "unknown", "no other time of the log can be seen"
    assert seen(theirs, other, other, other) == "unknown", "one row tells nothing"
