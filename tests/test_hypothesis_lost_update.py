"""lost-update: where it wins, what it must lose to, and work that only looks like it."""

from datetime import timedelta

from recovery.model import Complaint
from tests.located import START, Damaged, located, step

BACKUP = """
CREATE TABLE stock (id int PRIMARY KEY, pieces int NOT NULL, note text);
INSERT INTO stock SELECT n, 10 * n, 'ok' FROM generate_series(1, 6) AS n;
CREATE TABLE move (id int PRIMARY KEY, stock int NOT NULL, pieces int NOT NULL);
"""


def take(stock, pieces, move):
    return f"""
    INSERT INTO move VALUES ({move}, {stock}, {pieces});
    UPDATE stock SET pieces = pieces - {pieces} WHERE id = {stock}"""


STEPS = [step("1", take(5, 1, 1)), step("2", take(5, 3, 2)), step("3", take(4, 7, 3))]
HAPPENED = f"{take(5, 0, 1).replace('5, 0)', '5, 1)')}; {take(5, 3, 2)}; {take(4, 7, 3)}"


def test_it_wins(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, HAPPENED, STEPS, complete=True) as case:
        assert case.faults == [("2", "lost-update")]
        assert case.fault.parameters == (("first", "1"),)
        assert case.damage("public.stock") == [
            Damaged('{"id":"5"}', "pieces", "direct", "proven", "50", "47", "46")
        ]
        assert case.damage("public.move") == []


def test_a_row_that_somebody_has_counted(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, HAPPENED, STEPS) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_a_complaint(scratch, tmp_path):
    wrong = [Complaint("public.stock", (("id", "5"),), "pieces")]
    with located(scratch, tmp_path, BACKUP, HAPPENED, STEPS, complaints=wrong) as case:
        assert case.faults == [("2", "lost-update")]
        assert case.damage("public.stock") == [
            Damaged('{"id":"5"}', "pieces", "direct", "stale", "50", "47", "46")
        ]


# --- programs that save whole rows ---------------------------------------------------------------

COUNT = "UPDATE stock SET pieces = 44 WHERE id = 5"
NOTE = "UPDATE stock SET note = 'counted' WHERE id = 5"


def test_a_form_that_puts_back_what_it_had_read(scratch, tmp_path):
    """Two people at one form: the second knew nothing of the first one's number."""
    end = START + timedelta(minutes=9)
    steps = [
        step("1", COUNT, until=end, actor="ivanova"),
        step("2", NOTE, until=end, actor="petrov"),
    ]
    with located(scratch, tmp_path, BACKUP, NOTE, steps, complete=True) as case:
        assert case.faults == [("2", "lost-update")]
        assert ("1", "skipped") in case.alternatives
        assert case.damage("public.stock") == [
            Damaged('{"id":"5"}', "pieces", "lost-work", "proven", "50", "50", "44")
        ]


def test_a_step_that_was_not_done_at_all_is_the_simpler_tale(scratch, tmp_path):
    steps = [step("1", COUNT), step("2", NOTE)]
    with located(scratch, tmp_path, BACKUP, NOTE, steps, complete=True) as case:
        assert case.faults == [("1", "skipped")]
        assert case.damage("public.stock") == [
            Damaged('{"id":"5"}', "pieces", "omission", "proven", "50", "50", "44")
        ]
