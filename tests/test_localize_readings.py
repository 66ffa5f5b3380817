"""Readings of statements and data that were wrong once."""

from decimal import Decimal

from recovery.localize import statement
from recovery.localize.hypotheses.wrong_value import Observation, inferred
from recovery.localize.statement import Constant
from recovery.model import FaultClass
from tests.test_localize_grade import FIXED, one
from tests.test_localize_statement import SCHEMA

NUMBER = Constant(0, "10", True)


def test_a_percentage_is_found():
    """log: price + price * 10 / 100; executed: 50. 200.01 became 300.02."""
    seen = [Observation("202.01", "206.01", "300.02", "402.02")]
    assert Decimal(inferred(NUMBER, seen) or "NaN") == 50


def test_a_divisor_is_no_straight_line():
    """log: price / 4; executed: 2. What two probes and a line say (2.5) was never used."""
    seen = [
        Observation("300.00", "100.00", "150.00", "2.97"),
        Observation("600.00", "200.00", "300.00", "5.94"),
    ]
    assert inferred(NUMBER, seen) in ("2", None)


def test_constants_of_a_list_are_told_once():
    found = statement.constants("UPDATE t SET (a, b) = (1, 'x')")
    assert [one.text for one in found] == ["1", "x"]


def test_do_nothing_updates_nothing():
    text = "INSERT INTO orders (id) VALUES (1) ON CONFLICT DO NOTHING"
    assert [one.op for one in statement.targets(text, SCHEMA)] == ["insert"]


def test_the_same_column_of_another_table_is_not_its_own_former_value():
    text = "UPDATE t SET a = u.a * 2 FROM u WHERE u.id = t.id"
    assert statement.injective_columns(text) == frozenset()


def test_a_wrong_value_is_direct():
    """log: v = 5.00; executed: v = 9.99. Nobody's work was overwritten."""
    assert one(FIXED, fault_class=FaultClass.WRONG_VALUE)[0] == "direct"
