"""The shortest condition that tells rows from others, over values alone."""

import pytest

from diffing.model import Column
from recovery.localize.conditions import Sample, conditions

ID = Column("id", "integer", "text")
STORE = Column("store", "integer", "text")
STATE = Column("state", "text", "text")
DAY = Column("day", "date", "text")
ROWS = [
    (str(n), str(n % 4), "open" if n % 3 else None, f"2026-01-{n % 28 + 1:02}")
    for n in range(1, 61)
]


def found(wanted, *, silent=(), named=()):
    sample = Sample(
        (ID, STORE, STATE, DAY),
        ROWS,
        [None if n in silent else n in wanted for n in range(1, 61)],
        frozenset(n - 1 for n in named),
    )
    return conditions(sample)


def best(wanted, **said) -> str:
    return found(wanted, **said)[0].text().as_string(None)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (range(1, 61), ""),
        (range(40, 61), '"id" >= 40'),
        (range(1, 21), '"id" <= 20'),
        (range(15, 41), '"id" BETWEEN 15 AND 40'),
        (range(2, 61, 4), '"store" = 2'),
        ([n for n in range(1, 61) if n % 4 in (1, 3)], '"store" IN (1, 3)'),
        (range(3, 61, 3), '"state" IS NULL'),
        (range(22, 61, 4), '"id" >= 22 AND "store" = 2'),
        ([7], '"id" = 7'),
    ],
)
def test_the_shortest(wanted, text):
    assert best(wanted) == text


def test_dates_have_an_order():
    wanted = [n for n in range(1, 61) if "2026-01-10" <= ROWS[n - 1][3] <= "2026-01-19"]
    assert best(wanted) == "\"day\" BETWEEN '2026-01-10' AND '2026-01-19'"


def test_a_few_rows_on_the_wrong_side_are_tolerated():
    """Two more rows of another store, and one of the store that was spared."""
    assert best([n for n in range(2, 61, 4) if n != 30] + [1, 8], silent=[30]) == '"store" = 2'
    assert best([n for n in range(20, 61) if n != 40]) == '"id" >= 20'


def test_rows_that_say_nothing():
    assert best(range(2, 30, 4), silent=range(30, 61)) in ('"store" = 2', '"id" <= 26')


def test_a_group_that_nobody_named_is_left_out():
    """Two stores look the same; complaints are about one of them."""
    both = [n for n in range(1, 61) if n % 4 in (1, 3)]
    assert best(both, named=[1, 5, 9]) == '"store" = 1'
    assert best(both, named=[1, 3]) == '"store" IN (1, 3)'


def test_nothing_in_common():
    """What meets some of the rows by chance hardly meets any other."""
    scattered = found([2, 9, 17, 23, 31, 38, 44, 49, 52, 59])
    assert all(one.wrong <= 0.05 * one.met and one.met < 10 for one in scattered)


def test_a_group_that_nobody_named_is_in_no_range():
    both = [n for n in range(1, 61) if n % 4 in (1, 2)]
    assert best(both) == '"store" BETWEEN 1 AND 2'
    assert best(both, named=[2, 6, 10]) == '"store" = 2'


def test_no_rows():
    assert found([]) == ()
