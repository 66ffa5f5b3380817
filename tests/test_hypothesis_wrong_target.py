"""wrong-target: where it wins, and where it must not be claimed."""

import pytest

from recovery.model import Complaint
from tests.located import located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, net numeric(10,2) NOT NULL, gross numeric(10,2) NOT NULL,
                      mail text NOT NULL);
INSERT INTO product SELECT n, n * 3 + 7.5, n * 4 + 9.25, 'm' || n FROM generate_series(1, 80) AS n;
CREATE SCHEMA staging;
CREATE TABLE staging.product (LIKE product INCLUDING ALL);
INSERT INTO staging.product SELECT id, net + 1, gross + 1, mail FROM product;
"""


def _net(n, more=0.0):
    return f"{n * 3 + 7.5 + more:.2f}"


# A witness, and what is known with it; without one it may be two people's work just as well.
WITNESS = pytest.mark.parametrize(("suspect", "grade"), [(False, "stale"), (True, "consistent")])


@WITNESS
def test_other_rows(scratch, tmp_path, suspect, grade):
    """Another list of ids. One of them was changed by hand afterwards."""
    happened = """
    UPDATE product SET net = net + 2.5 WHERE id IN (21, 22, 23, 24, 25, 26);
    UPDATE product SET net = 1 WHERE id = 22;
    """
    logged = "UPDATE product SET net = net + 2.5 WHERE id IN (11, 12, 13, 14, 15, 16)"
    steps = [step("1", logged, suspect=suspect)]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "wrong-target")]
        assert ("F1-or-work" in [one.id for one in case.located.questions]) == (not suspect)
        assert dict(case.fault.parameters) == {
            "logged": "id IN (11, 12, 13, 14, 15, 16)",
            "executed": "id IN (21, 23, 24, 25, 26)",
        }
        found = case.targets("public.product", "net")
    assert found == {
        **{str(n): (_net(n, 2.5), grade) for n in range(11, 17)},
        **{str(n): (_net(n), grade) for n in (21, 23, 24, 25, 26)},
    }


def test_another_row_that_the_customer_complains_about(scratch, tmp_path):
    """17 for 71, of one row: only people can tell that from two edits on purpose."""
    happened = "UPDATE product SET mail = 'anna@example.org' WHERE id = 71"
    steps = [step("1", "UPDATE product SET mail = 'anna@example.org' WHERE id = 17")]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
    wrong = Complaint("public.product", (("id", "71"),), "mail")
    with located(scratch, tmp_path, BACKUP, happened, steps, complaints=[wrong]) as case:
        assert case.faults == [("1", "wrong-target")]
        found = case.targets("public.product", "mail")
    assert found == {"17": ("anna@example.org", "stale"), "71": (None, "undecided")}


@WITNESS
def test_another_column(scratch, tmp_path, suspect, grade):
    happened = "UPDATE product SET gross = gross + 3 WHERE id <= 9"
    steps = [step("1", "UPDATE product SET net = net + 3 WHERE id <= 9", suspect=suspect)]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "wrong-target")]
        assert dict(case.fault.parameters) == {"logged": "net", "executed": "gross"}
        nets, grosses = (case.targets("public.product", one) for one in ("net", "gross"))
    assert nets == {str(n): (_net(n, 3), grade) for n in range(1, 10)}
    assert grosses == {str(n): (f"{n * 4 + 9.25:.2f}", grade) for n in range(1, 10)}


def test_another_column_of_rows_that_the_step_has_signed(scratch, tmp_path):
    backup = f"""{BACKUP}
    ALTER TABLE product ADD touched timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.touched := coalesce(current_setting('app.at', true), now()::text);
    RETURN NEW; END$$;
    CREATE TRIGGER touch BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION touch();
    """
    steps = [step("1", "UPDATE product SET net = net + 3 WHERE id <= 9")]
    done = "UPDATE product SET gross = gross + 3 WHERE id <= 9"
    at = "SET app.at = '2026-03-01 12:01:01+00'"
    with located(scratch, tmp_path, backup, f"{at}; {done}", steps) as case:
        assert case.faults == [("1", "wrong-target")]
        assert {one.grade for one in case.damage("public.product")} == {"consistent"}
    other = f"{steps[0].action.text}; UPDATE product SET net = net - 3 WHERE id <= 9; {done}"
    with located(scratch, tmp_path, backup, other, steps) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_another_table(scratch, tmp_path):
    """Of a log that is complete."""
    happened = "DELETE FROM product WHERE id > 70"
    steps = [step("1", "DELETE FROM staging.product WHERE id > 70")]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("1", "wrong-target")]
        damage = {
            table: {(one.label, one.grade) for one in case.damage(table)}
            for table in ("public.product", "staging.product")
        }
        counts = [len(case.damage(table)) for table in damage]
    assert damage == {
        "public.product": {("direct", "proven")},
        "staging.product": {("omission", "proven")},
    }
    assert counts == [10, 10]


def test_two_columns_changed_on_purpose(scratch, tmp_path):
    """What was meant was done; the other column was raised as well, and nobody wrote it down."""
    logged = "UPDATE product SET net = net + 3 WHERE id <= 9"
    happened = f"{logged}; UPDATE product SET gross = gross + 3 WHERE id <= 9"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.product") == []


def test_ordinary_work_on_a_list_of_rows(scratch, tmp_path):
    """Two of the listed rows were taken back and the same was done to two others, on purpose: any
    rows can be listed."""
    logged = "UPDATE product SET net = net * 2 WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8)"
    happened = f"""
    {logged};
    UPDATE product SET net = net / 2 WHERE id IN (2, 5);
    UPDATE product SET net = net * 2 WHERE id IN (31, 47);
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.product") == []
