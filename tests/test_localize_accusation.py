"""A log that tells what was really done, and complaints: which step was the mistake? The data
cannot say what was meant, so nothing is safe until a person or right values confirm it."""

import pytest

from recovery.model import Complaint
from tests.located import located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, store int NOT NULL, price numeric(10,2) NOT NULL,
    note text);
CREATE TABLE line (id int PRIMARY KEY, product int REFERENCES product, price numeric(10,2));
INSERT INTO product SELECT n, n % 4, n * 3 + 7.5 FROM generate_series(1, 24) AS n;
INSERT INTO line SELECT n, n, n * 3 + 7.5 FROM generate_series(1, 6) AS n;
"""
STEPS = [
    step("1", "UPDATE product SET note = 'seen' WHERE store = 1"),
    step("2", "UPDATE product SET price = price * 1.5 WHERE store = 2"),
    step("3", "INSERT INTO line SELECT 10 + id, id, price FROM product WHERE id IN (2, 3, 6)"),
    step("4", "UPDATE product SET price = price + 1 WHERE id = 6"),
    step("5", "DELETE FROM line WHERE id = 1"),
]
HAPPENED = ";".join(one.action.text for one in STEPS)


def wrong(table, key, column="", **said):
    return Complaint(f"public.{table}", (("id", str(key)),), column, **said)


def right(key, value):
    return wrong("product", key, "price", should_be=value, has_value=True)


def run(scratch, folder, *complaints, steps=STEPS, complete=True):
    return located(
        scratch, folder, BACKUP, HAPPENED, steps,
        complaints=complaints, complete=complete, describes="executed",
    )  # fmt: skip


def test_without_complaints_nothing_is_claimed(scratch, tmp_path):
    with run(scratch, tmp_path) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_complaints_accuse_the_step_and_a_person_decides(scratch, tmp_path):
    said = [wrong("product", 2, "price"), wrong("product", 10, "price"), wrong("line", 12, "price")]
    with run(scratch, tmp_path, *said) as case:
        assert case.faults == [("2", "as-described")]
        damaged = case.damage("public.product") + case.damage("public.line")
        assert {(one.grade, one.target) for one in damaged} == {("undecided", None)}
        assert len(damaged) == 6 + 2
        (question,) = [one for one in case.located.questions if one.id.endswith("-which")]
        assert [one.rows for one in question.alternatives] == [8, 0]


def test_a_row_that_is_missing_accuses_who_deleted_it(scratch, tmp_path):
    with run(scratch, tmp_path, wrong("line", 1, row_missing=True)) as case:
        assert case.faults == [("5", "as-described")]


def test_the_later_step_is_not_accused_of_what_it_did_not_do(scratch, tmp_path):
    """Product 6 was raised twice; products 2 and 10 only once."""
    said = [wrong("product", 6, "price"), wrong("product", 2, "price")]
    with run(scratch, tmp_path, *said) as case:
        assert case.faults == [("2", "as-described")]


def test_fine_cells_speak_against_a_step(scratch, tmp_path):
    fine = [wrong("product", key, "price", fine=True) for key in (2, 10, 14)]
    with run(scratch, tmp_path, wrong("product", 6, "price"), *fine) as case:
        assert case.faults[0] == ("4", "as-described")


def test_right_values_confirm(scratch, tmp_path):
    """13.50 and 37.50 are what the products cost without step 2: then all of it is known."""
    with run(scratch, tmp_path, right(2, "13.5"), right(10, "37.50")) as case:
        assert case.faults == [("2", "as-described")]
        found = case.targets("public.product", "price")
    prices = {n: n * 3 + 7.5 for n in range(2, 25, 4)} | {6: 6 * 3 + 7.5 + 1}
    assert found == {str(n): (f"{price:.2f}", "proven") for n, price in prices.items()}


def test_right_values_that_do_not_come_out_confirm_nothing(scratch, tmp_path):
    with run(scratch, tmp_path, right(2, "13.50"), right(10, "40.00")) as case:
        assert {one.grade for one in case.damage("public.product")} == {"undecided"}


def test_one_old_value_is_what_the_absence_of_any_step_would_leave(scratch, tmp_path):
    """Step 4 was right; somebody quotes an old price list."""
    with run(scratch, tmp_path, right(6, "38.25")) as case:
        assert {one.grade for one in case.damage("public.product")} == {"undecided"}


def test_right_values_beside_an_open_complaint_confirm_nothing(scratch, tmp_path):
    said = [right(2, "13.50"), right(10, "37.50"), wrong("line", 5, "price")]
    with run(scratch, tmp_path, *said) as case:
        assert case.faults[0] == ("2", "as-described")
        assert {one.grade for one in case.damage("public.product")} == {"undecided"}


def test_a_step_that_was_meant_is_not_accused(scratch, tmp_path):
    steps = [
        step(one.id, one.action.text, describes="intended" if one.id == "2" else "executed")
        for one in STEPS
    ]
    with run(scratch, tmp_path, wrong("product", 2, "price"), steps=steps) as case:
        assert case.faults == []
        assert case.located.verdict == "inconclusive"


@pytest.mark.parametrize("complete", [True, False])
def test_a_suspect_explains_the_complaints(scratch, tmp_path, complete):
    """Then there is no second fault for the same cells."""
    steps = [step(one.id, one.action.text, suspect=one.id == "2") for one in STEPS]
    said = wrong("product", 2, "price")
    with run(scratch, tmp_path, said, steps=steps, complete=complete) as case:
        assert case.faults == [("2", "as-described")]
        assert not [one for one in case.located.questions if one.id.endswith("-which")]
