"""The constant that was really used, read out of what it did: never a wrong one."""

import random
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.localize.hypotheses.wrong_value import PROBES, Observation, inferred
from recovery.localize.statement import Constant

NUMBER = Constant(0, "1.10", True)
TEXT = Constant(0, "open", False)
CENT = Decimal("0.01")
SHAPES = {
    "x * k": lambda x, k: x * k,
    "x + k": lambda x, k: x + k,
    "x - k": lambda x, k: x - k,
    "k": lambda x, k: k,
}


def numeric(value):
    """What numeric(10,2) keeps: ties go away from zero."""
    return str(value.quantize(CENT, ROUND_HALF_UP))


def seen(shape, price, current):
    low, high = (numeric(SHAPES[shape](price, Decimal(probe))) for probe in PROBES)
    return Observation(low, high, current)


def written(shape, price, k):
    return seen(shape, price, numeric(SHAPES[shape](price, k)))


# Dear enough that no two constants of four decimals lead to the same cents.
prices = st.lists(
    st.integers(20_000, 99_999_999).map(lambda cents: cents * CENT), min_size=1, max_size=12
)


def constants(digits):
    low = -99_999
    return st.integers(0, digits).flatmap(
        lambda places: st.integers(low, -low).map(lambda n: Decimal(n).scaleb(-places))
    )


@given(prices, constants(4))
def test_a_factor_is_found(amounts, k):
    assert Decimal(inferred(NUMBER, [written("x * k", x, k) for x in amounts]) or "NaN") == k


@pytest.mark.parametrize("shape", ["x + k", "x - k", "k"])
@given(amounts=prices, k=constants(2))
def test_a_summand_is_found(shape, amounts, k):
    assert Decimal(inferred(NUMBER, [written(shape, x, k) for x in amounts]) or "NaN") == k


@given(prices, constants(4), st.integers(0, 2**32))
def test_a_factor_is_found_among_later_edits(amounts, k, seed):
    chance = random.Random(seed)
    cells = [written("x * k", x, k) for x in amounts]
    edits = chance.randint(0, (len(cells) - 1) // 2)
    for place in chance.sample(range(len(cells)), edits):
        later = Decimal(chance.randint(1, 10_000_000)) * CENT
        cells[place] = seen("x * k", amounts[place], numeric(later))
    # A later edit is no number of four digits less than the rest by chance.
    assert Decimal(inferred(NUMBER, cells) or "NaN") == k


@pytest.mark.parametrize("shape", sorted(SHAPES))
@given(k=constants(2), seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_noise_names_no_constant(shape, k, seed):
    """A third was written by the step, the rest is whatever people typed."""
    chance = random.Random(seed)
    amounts = [Decimal(chance.randint(20_000, 9_999_999)) * CENT for _ in range(24)]
    cells = [written(shape, x, k) for x in amounts[:8]]
    cells += [
        seen(shape, x, numeric(Decimal(chance.randint(20_000, 9_999_999)) * CENT))
        for x in amounts[8:]
    ]
    assert inferred(NUMBER, cells) is None


@given(prices)
def test_what_was_logged_is_found_when_nothing_went_wrong(amounts):
    assert inferred(NUMBER, [written("x * k", x, Decimal("1.10")) for x in amounts]) == "1.1"


@given(
    st.lists(st.integers(1, 500).map(lambda cents: cents * CENT), min_size=1, max_size=12),
    constants(4),
)
def test_of_small_change_something_that_fits_is_proposed(amounts, k):
    """Several constants lead to the same cents: the shortest is proposed, and it does."""
    cells = [written("x * k", x, k) for x in amounts]
    found = inferred(NUMBER, cells)
    assert found is not None
    assert len(found) <= max(len(str(k)), len(f"{k:f}"))
    close = [
        abs(x * Decimal(found) - Decimal(c.current)) <= CENT
        for x, c in zip(amounts, cells, strict=True)
    ]
    assert 2 * sum(close) >= len(close)


def cells(*rows):
    return [Observation(*row) for row in rows]


NOTHING = {
    "no cell": [],
    "cells that do not depend on the constant": cells(("5.00", "5.00", "5.00")),
    "most do not depend on it": cells(
        ("10.00", "30.00", "11.00"), ("5.00", "5.00", "5.00"), ("6.00", "6.00", "6.00")
    ),
    "no number": cells(("a", "aaa", "aa")),
    "nothing there": cells(("10.00", "30.00", None), (None, None, "5.00")),
    "not a number": cells(("10.00", "30.00", "NaN"), ("10.00", "30.00", "Infinity")),
    "each another constant": cells(
        ("100.00", "300.00", "117.31"), ("100.00", "300.00", "245.77"), ("100.00", "300.00", "9.13")
    ),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_speaks_for_a_constant(name):
    assert inferred(NUMBER, NOTHING[name]) is None


EXACTLY = {
    "an integer column": (cells(("1", "3", "11"), ("2", "6", "22")), "11"),
    "zero": (cells(("100.00", "300.00", "0.00"), ("7.00", "21.00", "0.00")), "0"),
    "half are cells of others": (
        cells(("100.00", "300.00", "110.00"), ("7.00", "21.00", "3.33")),
        "1.1",
    ),
    "six decimals": (cells(("1000000", "3000000", "1000001")), "1.000001"),
}


@pytest.mark.parametrize("name", EXACTLY)
def test_the_shortest_constant_that_most_agree_on(name):
    observations, constant = EXACTLY[name]
    assert inferred(NUMBER, observations) == constant


TEXTS = {
    "all alike": (["void"] * 3, "void"),
    "half": (["void", "void", "paid", "sent"], "void"),
    "a third": (["void", "paid", "sent"], None),
    "NULL is no constant": ([None, None, None], None),
    "most are NULL": (["void", None, None], None),
    "nothing": ([], None),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name):
    there, found = TEXTS[name]
    assert inferred(TEXT, cells(*((None, None, one) for one in there))) == found
