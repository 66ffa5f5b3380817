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


def done(*texts):
    return [step(str(n), text) for n, text in enumerate(texts, 1)]


def test_rows_that_were_left_out_accuse_the_step_that_should_have_taken_them(scratch, tmp_path):
    """Products 2 and 6 of store 2 were to be raised as well; the log has the condition that was
    run. A step that wrote another column of the same rows is less to blame."""
    steps = done(
        "UPDATE product SET note = 'seen' WHERE store = 2",
        "UPDATE product SET price = price * 1.5 WHERE store = 2 AND id > 8",
        "UPDATE product SET price = price + 1 WHERE store = 1 AND id > 8",
        "DELETE FROM line WHERE id = 1",
    )
    happened = ";".join(one.action.text for one in steps)
    said = [wrong("product", 2, "price"), wrong("product", 6, "price")]
    with located(
        scratch, tmp_path, BACKUP, happened, steps, complaints=said, describes="executed"
    ) as case:
        assert case.faults == [("2", "as-described")]
        assert dict(case.fault.parameters) == {"without": "id > 8"}
        damaged = case.damage("public.product")
        assert {(one.key, one.label, one.grade) for one in damaged} == {
            (f'{{"id":"{n}"}}', "omission", "undecided") for n in (2, 6)
        }
        (question,) = [one for one in case.located.questions if one.id.endswith("-which")]
        assert '"dropped":"id > 8"' in question.alternatives[0].text


def test_what_others_changed_since_accuses_as_well(scratch, tmp_path):
    """Somebody who wrote nothing down changed the prices once more."""
    happened = f"{HAPPENED}; UPDATE product SET price = price - 2 WHERE id IN (2, 10, 14)"
    said = [wrong("product", key, "price") for key in (2, 10, 14)]
    with located(
        scratch, tmp_path, BACKUP, happened, STEPS, complaints=said, describes="executed"
    ) as case:
        assert case.faults == [("2", "as-described")]
        assert {one.grade for one in case.damage("public.product")} == {"undecided"}


def test_another_column_of_the_rows_that_a_step_wrote_accuses_it(scratch, tmp_path):
    """It was the price that should have been changed, and the note was."""
    said = [wrong("product", key, "price") for key in (1, 5, 9)]
    with run(scratch, tmp_path, *said) as case:
        assert case.faults == [("1", "as-described")]


def test_many_complaints_accuse_a_large_step(scratch, tmp_path):
    """That it did so much does not weigh more with every complaint than the complaint does."""
    backup = BACKUP + "INSERT INTO product SELECT n, 2, n FROM generate_series(25, 3000) AS n;"
    said = [wrong("product", key, "price") for key in range(40, 340, 30)]
    with located(
        scratch, tmp_path, backup, HAPPENED, STEPS, complaints=said, describes="executed"
    ) as case:
        assert case.faults == [("2", "as-described")]


def test_times_of_touching_accuse_the_step_that_touched_the_rows(scratch, tmp_path):
    backup = f"""{BACKUP}
    ALTER TABLE product ADD touched_at timestamptz NOT NULL DEFAULT '2026-02-01 10:00+00';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.touched_at := now(); RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION touch();
    """
    said = [wrong("product", key, "touched_at") for key in (2, 6, 10)]
    with located(
        scratch, tmp_path, backup, HAPPENED, STEPS, complaints=said, describes="executed"
    ) as case:
        assert case.faults[0] == ("2", "as-described")


def test_a_place_that_no_step_comes_near_accuses_nobody(scratch, tmp_path):
    with run(scratch, tmp_path, wrong("line", 4, "product")) as case:
        assert case.faults == []
        assert case.located.verdict == "inconclusive"
