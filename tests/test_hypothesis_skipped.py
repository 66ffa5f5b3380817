"""skipped: where it wins, what it must lose to, and work that only looks like it."""

import pytest

from recovery.model import Complaint
from tests.located import Damaged, located, step

BACKUP = """
CREATE TABLE product (
    id int PRIMARY KEY, store int NOT NULL, price numeric(10,2) NOT NULL, state text NOT NULL);
INSERT INTO product SELECT n, n % 4, n * 3 + 7.5, 'open' FROM generate_series(1, 16) AS n;
CREATE TABLE total (store int PRIMARY KEY, price numeric(10,2) NOT NULL);
INSERT INTO total SELECT n, 0 FROM generate_series(0, 3) AS n;
"""
RAISE = "UPDATE product SET price = price * 1.10 WHERE store = 3"
SUM = "UPDATE total t SET price = (SELECT sum(price) FROM product p WHERE p.store = t.store)"
CLOSE = "UPDATE product SET state = 'closed' WHERE id < 4"
TAKEN_BACK = "UPDATE product SET price = price / 1.10 WHERE store = 3"
STEPS = [step("1", CLOSE), step("2", RAISE), step("3", SUM)]


def test_it_wins_and_what_was_made_of_it_is_collateral(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, f"{CLOSE}; {SUM}", STEPS, complete=True) as case:
        assert case.faults == [("2", "skipped")]
        assert case.damage("public.product") == [
            Damaged(f'{{"id":"{n}"}}', "price", "omission", "proven", was, was, should)
            for n, was, should in (
                (3, "16.50", "18.15"),
                (7, "28.50", "31.35"),
                (11, "40.50", "44.55"),
                (15, "52.50", "57.75"),
            )
        ]
        assert case.damage("public.total") == [
            Damaged('{"store":"3"}', "price", "collateral", "proven", "0.00", "138.00", "151.80")
        ]


def test_a_partial_log_and_a_suspicion(scratch, tmp_path):
    """Nobody wrote down that 7 was priced anew, and 8 renamed."""
    happened = f"""
    {CLOSE}; {SUM};
    UPDATE product SET price = 30 WHERE id = 7;
    UPDATE product SET state = 'new' WHERE id = 8;
    """
    steps = [STEPS[0], step("2", RAISE, suspect=True), STEPS[2]]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("2", "skipped")]
        assert case.targets("public.product", "price") == {
            "3": ("18.15", "consistent"),
            "7": (None, "undecided"),
            "11": ("44.55", "consistent"),
            "15": ("57.75", "consistent"),
        }
        assert [one.label for one in case.damage("public.product")] == ["omission"] * 4


def test_a_step_that_was_taken_back_on_purpose(scratch, tmp_path):
    happened = f"{CLOSE}; {RAISE}; {TAKEN_BACK}; {SUM}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_of_many_rows_a_person_is_asked(scratch, tmp_path):
    """Nobody tells whether it was left out or taken back: nothing is written of it."""
    more = BACKUP.replace("generate_series(1, 16)", "generate_series(1, 48)")
    for happened in (f"{CLOSE}; {SUM}", f"{CLOSE}; {RAISE}; {TAKEN_BACK}; {SUM}"):
        with located(scratch, tmp_path, more, happened, STEPS) as case:
            assert (case.located.verdict, case.faults) == ("inconclusive", [("2", "skipped")])
            assert [one.id for one in case.located.questions] == ["F1-afterwards"]
            assert {one.grade for one in case.damage("public.product")} == {"undecided"}


def test_a_step_that_was_done_for_half_of_its_rows_is_another_fault(scratch, tmp_path):
    happened = f"{CLOSE}; {RAISE} AND id < 9; {SUM}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS, complete=True) as case:
        assert ("2", "skipped") not in case.faults + case.alternatives


# --- a column that a trigger keeps ---------------------------------------------------------------

STAMPED = (
    BACKUP
    + """
ALTER TABLE product ADD COLUMN touched timestamptz NOT NULL DEFAULT '2026-02-01 00:00:00+00';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN NEW.touched := now(); RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION touch();
"""
)


def test_rows_that_nobody_has_touched(scratch, tmp_path):
    with located(scratch, tmp_path, STAMPED, f"{CLOSE}; {SUM}", STEPS) as case:
        assert case.faults == [("2", "skipped")]
        assert case.targets("public.product", "price") == {
            "3": ("18.15", "consistent"),
            "7": ("31.35", "consistent"),
            "11": ("44.55", "consistent"),
            "15": ("57.75", "consistent"),
        }


def test_rows_that_somebody_has_touched(scratch, tmp_path):
    happened = f"{CLOSE}; {RAISE}; {TAKEN_BACK}; {SUM}"
    with located(scratch, tmp_path, STAMPED, happened, STEPS) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


# --- rows -----------------------------------------------------------------------------------------

DELETE = step("4", "DELETE FROM product WHERE store = 1")
INSERT = step("5", "INSERT INTO product VALUES (20, 2, 1.5, 'new'), (21, 2, 2.5, 'new')")


def rows(case):
    return [
        (one.key, one.label, one.grade, one.current, one.target)
        for one in case.damage("public.product")
    ]


def image(n):
    return f'{{"id":"{n}","store":"1","price":"{n * 3 + 7.5:.2f}","state":"open"}}'


@pytest.mark.parametrize(
    ("how", "grade"),
    [
        ({"complete": True}, "proven"),
        ({"complaints": [Complaint("public.product", (("id", "5"),))]}, "consistent"),
        ({}, "stale"),
    ],
)
def test_rows_that_should_be_gone(scratch, tmp_path, how, grade):
    with located(scratch, tmp_path, BACKUP, "", [DELETE], **how) as case:
        assert case.faults == [("4", "skipped")]
        assert rows(case) == [
            (f'{{"id":"{n}"}}', "omission", grade, image(n), None) for n in (1, 5, 9, 13)
        ]


def test_rows_that_should_have_come(scratch, tmp_path):
    steps = [STEPS[0], INSERT]
    with located(scratch, tmp_path, BACKUP, CLOSE, steps, complete=True) as case:
        assert case.faults == [("5", "skipped")]
        assert rows(case) == [
            (
                f'{{"id":"{n}"}}',
                "omission",
                "proven",
                None,
                f'{{"id":"{n}","store":"2","price":"{price}","state":"new"}}',
            )
            for n, price in ((20, "1.50"), (21, "2.50"))
        ]


def test_rows_that_somebody_has_deleted_since(scratch, tmp_path):
    happened = f"{CLOSE}; {INSERT.action.text}; DELETE FROM product WHERE id > 19"
    with located(scratch, tmp_path, BACKUP, happened, [STEPS[0], INSERT]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


# --- numbers that a sequence would have given ----------------------------------------------------

NUMBERED = """
CREATE TABLE orders (id serial PRIMARY KEY, who text NOT NULL, n int NOT NULL);
CREATE TABLE line (id serial PRIMARY KEY, orders int NOT NULL REFERENCES orders, what text);
CREATE TABLE note (id int PRIMARY KEY, line int REFERENCES line, about int);
INSERT INTO orders (who, n) SELECT 'w' || n, n FROM generate_series(1, 10) AS n;
INSERT INTO line (orders, what) SELECT n, 'l' || n FROM generate_series(1, 10) AS n;
INSERT INTO note VALUES (1, 1, 1);
"""
COUNT = step("1", "UPDATE orders SET n = n + 1 WHERE id < 4")
ANNA = step("2", "INSERT INTO orders (who, n) VALUES ('Anna', 700)")
BERTA = step("3", "INSERT INTO orders (who, n) VALUES ('Berta', 900)")
LINE = step("4", "INSERT INTO line (orders, what) SELECT id, 'hers' FROM orders WHERE who = 'Anna'")
NOTE = step(
    "5",
    "INSERT INTO note SELECT 2, l.id, 5 FROM line l JOIN orders o ON o.id = l.orders"
    " WHERE o.who = 'Anna'",
)
USED_UP = "SELECT nextval('orders_id_seq')"
IMAGE = '{"id":"11","who":"Anna","n":"700"}'


def numbered(scratch, folder, steps, happened):
    done = "; ".join(one if isinstance(one, str) else one.action.text for one in happened)
    return located(scratch, folder, NUMBERED, done, steps, complete=True)


def lost(case, table):
    return [(one.key, one.target, one.grade) for one in case.damage(table)]


def test_the_very_next_number_is_its_own(scratch, tmp_path):
    with numbered(scratch, tmp_path, [COUNT, ANNA], [COUNT]) as case:
        assert case.faults == [("2", "skipped")]
        assert lost(case, "public.orders") == [('{"id":"11"}', IMAGE, "proven")]
        assert case.located.questions == ()


def test_a_number_that_nobody_has_may_have_been_its_own(scratch, tmp_path):
    """Rolled back: the counter does not go back with it. What names the row is no surer."""
    steps = [COUNT, ANNA, BERTA, LINE, NOTE]
    with numbered(scratch, tmp_path, steps, [COUNT, USED_UP, BERTA, LINE, NOTE]) as case:
        assert case.faults == [("2", "skipped")]
        assert lost(case, "public.orders") == [('{"id":"11"}', IMAGE, "derived")]
        assert lost(case, "public.line") == [
            ('{"id":"11"}', '{"id":"11","orders":"11","what":"hers"}', "derived")
        ]
        assert lost(case, "public.note") == [
            ('{"id":"2"}', '{"id":"2","line":"11","about":"5"}', "derived")
        ]


def test_a_number_that_went_to_another_row(scratch, tmp_path):
    """Berta has the number that Anna would have had: it is Anna who never came, not Berta."""
    steps = [COUNT, ANNA, BERTA, LINE]
    with numbered(scratch, tmp_path, steps, [COUNT, BERTA, LINE]) as case:
        assert case.faults == [("2", "skipped")]
        ((_, target, grade),) = lost(case, "public.orders")
        assert (target, grade) == (None, "undecided")
        ((_, target, grade),) = lost(case, "public.line")
        assert (target, grade) == (None, "undecided")
        assert [(one.id, one.rows) for one in case.located.questions] == [("F1-numbers", 2)]


def test_a_number_that_a_row_of_no_step_got(scratch, tmp_path):
    """A log that calls itself complete and is not."""
    other = "INSERT INTO orders (who, n) VALUES ('Clara', 1)"
    with numbered(scratch, tmp_path, [COUNT, ANNA, BERTA], [COUNT, BERTA, other]) as case:
        assert {one[2] for one in lost(case, "public.orders")} <= {"undecided"}


# --- lost commits ---------------------------------------------------------------------------------


def test_the_last_steps_were_lost(scratch, tmp_path):
    """A crash took all that was done after step 1; somebody has repriced 2 since."""
    steps = [*STEPS, DELETE, INSERT]
    happened = f"{CLOSE}; UPDATE product SET price = 1 WHERE id = 2"
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("2", "skipped")]
        assert case.fault.parameters == (("first", "2"), ("last", "5"))
        assert {(one.label, one.grade) for one in case.damage("public.product")} == {
            ("omission", "consistent")
        }
        assert [one.key for one in case.damage("public.product") if not one.column] == [
            f'{{"id":"{n}"}}' for n in (1, 5, 9, 13, 20, 21)
        ]
        assert case.targets("public.product", "price") == {
            "3": ("18.15", "consistent"),
            "7": ("31.35", "consistent"),
            "11": ("44.55", "consistent"),
            "15": ("57.75", "consistent"),
        }
