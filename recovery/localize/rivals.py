"""The nearest rival of a wrong value under a partial log: the step ran as it was written down, and
somebody changed the same rows once more, before it or afterwards, and did not write it down. Both
leave the same cells. Only three things tell them apart, and without one of them no fault is
claimed:

- the constant is a slip of the logged one: its decimal point moved, or its sign lost;
- the step sets a value whatever was there before, and a touched-at column shows that it was the
  last to write those rows;
- people: the customer suspects the step, or the client program reported its rows, or the log says
  that it is complete.
"""

from decimal import Decimal, InvalidOperation
from typing import Literal

import duckdb

from recovery.localize.cells import TOLERANCE_SECONDS

_WITNESSES_MIN = 3  # times that must be seen before their absence says anything
_SHARE = 0.5

_TOUCHED = """
WITH seen AS (
    SELECT c.by_fault, c.c IS NOT DISTINCT FROM c.f OR abs(
               epoch_us(try_cast(split_part(c.c, '+', 1) AS TIMESTAMP))
               - epoch_us(try_cast(split_part(c.f, '+', 1) AS TIMESTAMP))) <= $tolerance AS agrees
    FROM cell c JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE c.c_row AND c.f_row AND try_cast(split_part(c.f, '+', 1) AS TIMESTAMP) IS NOT NULL)
SELECT count(*) FILTER (by_fault AND agrees), count(*) FILTER (by_fault),
       count(*) FILTER (NOT by_fault AND agrees)
FROM seen
"""


def is_slip(logged: str, executed: str) -> bool:
    """Is `executed` what a slipped finger makes of `logged`?"""
    try:
        meant, typed = Decimal(logged), Decimal(executed)
    except InvalidOperation:
        return False
    if not meant or not typed:
        return False
    if typed == -meant:
        return True
    exponent = (typed / meant).normalize()
    return exponent != 1 and exponent.as_tuple().digits == (1,) and exponent > 0


def last_to_write(facts: duckdb.DuckDBPyConnection) -> Literal["the step", "somebody", "unknown"]:
    """Who wrote the rows of the faulty step last, by the touched-at columns of the current state.
    `somebody` needs a log whose other times can be seen there."""
    row = facts.execute(_TOUCHED, {"tolerance": TOLERANCE_SECONDS * 1_000_000}).fetchone()
    assert row is not None
    agreeing, written, elsewhere = (int(number) for number in row)
    if written and agreeing >= _SHARE * written:
        return "the step"
    if written >= _WITNESSES_MIN and elsewhere >= _WITNESSES_MIN:
        return "somebody"
    return "unknown"
