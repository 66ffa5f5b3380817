"""truncated-table: where it wins, where a rival does, and where it stays a question."""

import pytest

from recovery.model import Complaint, Step
from tests.located import located, step

BACKUP = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customer, total int);
CREATE TABLE visit (id int PRIMARY KEY, page text);
INSERT INTO customer SELECT n, 'Customer ' || n FROM generate_series(1, 8) AS n;
INSERT INTO orders SELECT n, n % 8 + 1, n * 10 FROM generate_series(1, 12) AS n;
INSERT INTO visit SELECT n, 'page ' || n FROM generate_series(1, 9) AS n;
"""
STEPS = [
    step("1", "INSERT INTO orders VALUES (13, 1, 130)"),
    step("2", "UPDATE orders SET total = total + 5 WHERE id = 2"),
    step("3", "INSERT INTO orders VALUES (14, 2, 140)"),
]
FIRST, LAST = "; ".join(one.action.text for one in STEPS[:2]), STEPS[2].action.text
WRONG = Complaint("public.orders", (("id", "3"),), row_missing=True)


def question(case):
    return [one.rows for one in case.located.questions if one.id == "E1"]


def test_it_wins_with_a_complaint(scratch, tmp_path):
    """Emptied between steps 2 and 3: the row of step 3 is there, that of step 1 is not."""
    happened = f"{FIRST}; TRUNCATE orders; {LAST}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS, complaints=[WRONG]) as case:
        assert case.faults == [("", "truncated-table")]
        damage = case.damage("public.orders")
        assert case.fault.parameters == (("tables", "public.orders"),)
    rows = {n: n * 10 for n in range(1, 14)} | {2: 25}
    assert [one.target for one in damage] == [
        f'{{"id":"{n}","customer":"{n % 8 + 1 if n < 13 else 1}","total":"{total}"}}'
        for n, total in rows.items()
    ]
    assert {one.label for one in damage} == {"direct", "lost-work"}
    # Under a partial log somebody may have changed a row before it went.
    assert {one.grade for one in damage} == {"stale"}


def test_it_is_proven_by_a_complete_log(scratch, tmp_path):
    happened = f"{FIRST}; TRUNCATE orders; {LAST}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS, complete=True) as case:
        assert case.faults == [("", "truncated-table")]
        assert {one.grade for one in case.damage("public.orders")} == {"proven"}


def test_what_depends_on_it_is_emptied_with_it(scratch, tmp_path):
    happened = f"{FIRST}; TRUNCATE customer CASCADE"
    with located(scratch, tmp_path, BACKUP, happened, STEPS[:2], complete=True) as case:
        assert case.faults == [("", "truncated-table")]
        assert len(case.damage("public.customer")) == 8
        assert len(case.damage("public.orders")) == 13


def test_it_must_lose_against_a_deletion_without_its_where(scratch, tmp_path):
    steps = [step("1", "DELETE FROM visit WHERE id = 4")]
    with located(scratch, tmp_path, BACKUP, "DELETE FROM visit", steps) as case:
        assert case.faults == [("1", "missing-where")]


def test_without_a_witness_it_is_a_question(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, f"{FIRST}; {LAST}; TRUNCATE visit", STEPS) as case:
        assert (case.located.verdict, case.faults) == ("inconclusive", [])
        assert question(case) == [9]
        assert case.damage("public.visit") == []


@pytest.mark.parametrize(
    "kept", ["DELETE FROM visit WHERE id > 1", "DELETE FROM visit WHERE id < 9"]
)
def test_a_table_that_was_cleared_but_for_one_row_is_no_question(scratch, tmp_path, kept):
    with located(scratch, tmp_path, BACKUP, f"{FIRST}; {LAST}; {kept}", STEPS) as case:
        assert (case.located.verdict, case.faults, question(case)) == ("clean", [], [])


def test_a_step_in_words_that_is_suspected(scratch, tmp_path):
    """It names the table: the rows went then, and not at the end."""
    cleared = Step("2a", 0, "Cleared visits", None, at=STEPS[1].at, suspect=True)
    happened = f"{FIRST}; TRUNCATE visit; {LAST}"
    steps = [*STEPS[:2], cleared, STEPS[2]]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("2a", "truncated-table")]
        assert {one.label for one in case.damage("public.visit")} == {"direct"}


NUMBERED = """
CREATE TABLE ticket (id serial PRIMARY KEY, who text NOT NULL);
INSERT INTO ticket (who) SELECT 'w' || n FROM generate_series(1, 9) AS n;
"""
TICKETS = [
    step("1", "INSERT INTO ticket (who) VALUES ('Anna')"),
    step("2", "INSERT INTO ticket (who) VALUES ('Berta')"),
]


@pytest.mark.parametrize(
    ("skipped", "grade"), [("", "proven"), ("SELECT nextval('ticket_id_seq');", "derived")]
)
def test_rows_that_are_gone_have_their_numbers_only_where_none_was_skipped(
    scratch, tmp_path, skipped, grade
):
    """Berta came as 11, or as 12 when a number was used up between: nothing that is left says."""
    first, second = (one.action.text for one in TICKETS)
    happened = f"{first}; {skipped} {second}; TRUNCATE ticket"
    with located(scratch, tmp_path, NUMBERED, happened, TICKETS, complete=True) as case:
        assert case.faults == [("", "truncated-table")]
        graded = {one.key: one.grade for one in case.damage("public.ticket")}
    assert {graded.pop(f'{{"id":"{n}"}}') for n in (10, 11)} == {grade}
    assert set(graded.values()) == {"proven"}
