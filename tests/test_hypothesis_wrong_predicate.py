"""wrong-predicate: where it wins, and where it must not be claimed."""

import pytest

from recovery.model import Label
from tests.located import located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, store int NOT NULL, made date NOT NULL,
                      price numeric(10,2) NOT NULL);
INSERT INTO product SELECT n, n % 6, date '2026-01-01' + n * 7 % 40, n * 3 + 7.5
FROM generate_series(1, 40) AS n;
"""
LOGGED = "UPDATE product SET price = price * 1.10 WHERE store = 3"


def _price(n):
    return f"{n * 3 + 7.5:.2f}"


def _raised(n):
    return f"{round((n * 3 + 7.5) * 1.1 + 1e-9, 2):.2f}"


@pytest.mark.parametrize("suspect", [False, True])
def test_another_constant(scratch, tmp_path, suspect):
    """Store 4 was raised instead of store 3. Row 10 was typed in by hand afterwards. Two people's
    work could look like that, so without a witness a person is asked."""
    happened = """
    UPDATE product SET price = price * 1.10 WHERE store = 4;
    UPDATE product SET price = 20.00 WHERE id = 10;
    """
    steps = [step("1", LOGGED, suspect=suspect)]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "wrong-predicate")]
        assert dict(case.fault.parameters) == {"logged": "store = 3", "executed": "store = 4"}
        found = case.targets("public.product", "price")
        assert ("F1-or-work" in [one.id for one in case.located.questions]) == (not suspect)
    grade = "consistent" if suspect else "stale"
    back = {str(n): (_price(n), grade) for n in range(4, 41, 6) if n != 10}
    forward = {str(n): (_raised(n), grade) for n in range(3, 41, 6)}
    labels = dict(case.fault.cells)
    assert found == {"10": (None, "undecided"), **back, **forward}
    assert labels == {Label.DIRECT: 7, Label.OMISSION: 7}


# Who wrote a row last, and when: a trigger keeps it.
STAMPED = (
    BACKUP
    + """
ALTER TABLE product ADD touched timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.touched := coalesce(current_setting('app.at', true), now()::text);
    RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION touch();
"""
)
AT_THE_STEP = "SET app.at = '2026-03-01 12:01:01+00'"
OTHERS = "UPDATE product SET price = price / 1.10 WHERE store = 3"


def test_rows_that_the_step_has_signed(scratch, tmp_path):
    happened = f"{AT_THE_STEP}; {LOGGED.replace('= 3', '= 4')}"
    with located(scratch, tmp_path, STAMPED, happened, [step("1", LOGGED)]) as case:
        assert case.faults == [("1", "wrong-predicate")]
        assert {grade for _, grade in case.targets("public.product", "price").values()} == {
            "consistent"
        }


def test_the_work_of_two_people(scratch, tmp_path):
    """The step was done as written; somebody took it back, and raised another store."""
    happened = f"{LOGGED}; {OTHERS}; {LOGGED.replace('= 3', '= 4')}"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        grades = {grade for _, grade in case.targets("public.product", "price").values()}
        assert grades <= {"stale", "undecided"}
        assert [one.id for one in case.located.questions] == ["F1-or-work"]
    with located(scratch, tmp_path, STAMPED, happened, [step("1", LOGGED)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_another_bound(scratch, tmp_path):
    """An earlier day than was meant: the later rows were left out. The client program reported how
    many there were; without that it could as well have been taken back on them."""
    logged = "UPDATE product SET price = price * 1.10 WHERE made < '2026-02-01'"
    happened = "UPDATE product SET price = price * 1.10 WHERE made < '2026-01-20'"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged, rows=19)]) as case:
        assert case.faults == [("1", "wrong-predicate")]
        assert dict(case.fault.parameters)["executed"] == "made < '2026-01-20'"
        found = case.targets("public.product", "price")
    left = [n for n in range(1, 41) if 19 <= n * 7 % 40 < 31]
    assert found == {str(n): (_raised(n), "consistent") for n in left}


def test_alternatives_of_conditions(scratch, tmp_path):
    """OR in the place of AND, of a log that is complete: proven."""
    logged = "UPDATE product SET price = price * 1.10 WHERE store = 3 AND id <= 20"
    happened = "UPDATE product SET price = price * 1.10 WHERE store = 3 OR id <= 20"
    steps = [step("1", logged)]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("1", "wrong-predicate")]
        found = case.targets("public.product", "price")
    hit = [n for n in range(1, 41) if (n % 6 == 3) != (n <= 20)]
    assert found == {str(n): (_price(n), "proven") for n in hit}


def test_rows_wrongly_deleted_and_rows_wrongly_left(scratch, tmp_path):
    happened = "DELETE FROM product WHERE store IN (2, 5)"
    steps = [step("1", "DELETE FROM product WHERE store IN (2, 3)")]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "wrong-predicate")]
        damage = case.damage("public.product")
    assert [(one.key, one.label, one.grade, one.target is None) for one in damage] == [
        (
            f'{{"id":"{n}"}}',
            *(("omission", "stale", True) if n % 6 == 3 else ("direct", "stale", False)),
        )
        for n in range(1, 41)
        if n % 6 in (3, 5)
    ]


def test_the_same_done_to_more_rows_on_purpose(scratch, tmp_path):
    """Store 4 was raised as well, and nobody wrote it down."""
    happened = f"{LOGGED}; UPDATE product SET price = price * 1.10 WHERE store = 4"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.product") == []


def test_nobody_says_which_was_meant(scratch, tmp_path):
    """The step log may as well be mistaken: every cell is left to a person, and the question is
    put."""
    happened = "UPDATE product SET price = price * 1.10 WHERE store = 4"
    steps = [step("1", LOGGED)]
    with located(scratch, tmp_path, BACKUP, happened, steps, describes="unknown") as case:
        assert case.faults == [("1", "wrong-predicate")]
        grades = {(one.grade, one.target) for one in case.damage("public.product")}
        questions = [one.id for one in case.located.questions]
    assert grades == {("undecided", None)}
    assert questions == ["F1-meant"]
