"""wrong-restore: where it wins, and where it must not be claimed."""

import pytest

from recovery.model import Step
from tests.located import START, Damaged, located, step

BACKUP = """
CREATE TABLE price (id int PRIMARY KEY, amount numeric(10,2) NOT NULL);
CREATE TABLE stock (id int PRIMARY KEY, pieces int NOT NULL);
INSERT INTO price SELECT n, n FROM generate_series(1, 12) AS n;
INSERT INTO stock SELECT n, n FROM generate_series(1, 12) AS n;
"""
LOG = [
    step("1", "UPDATE price SET amount = 100 + id WHERE id IN (1, 2, 3)"),
    step("2", "UPDATE price SET amount = 200 + id WHERE id IN (3, 4, 5)"),
    step("3", "UPDATE stock SET pieces = pieces + 1"),
    step("4", "INSERT INTO price VALUES (20, 9.99), (21, 8.99)"),
    step("5", "DELETE FROM price WHERE id = 6"),
    step("6", "UPDATE price SET amount = 300 + id WHERE id IN (7, 20)"),
    step("7", "UPDATE stock SET pieces = pieces * 2 WHERE id < 6"),
    step("8", "UPDATE price SET amount = 400 + id WHERE id IN (8, 9)"),
]
TEXTS = {one.id: one.action.text for one in LOG}


def after(*names: str) -> str:
    return "; ".join(TEXTS[name] for name in names) + ";"


SAVED = f"{after('1')} CREATE TEMP TABLE saved AS TABLE price;"
PUT_BACK = "DELETE FROM price; INSERT INTO price TABLE saved; DROP TABLE saved;"


def test_it_wins(scratch, tmp_path):
    """Prices were put back to what they were after step 1; stock went on, and so did prices."""
    happened = SAVED + after("2", "3", "4", "5", "6", "7") + PUT_BACK + after("8")
    with located(scratch, tmp_path, BACKUP, happened, LOG) as case:
        assert case.faults == [("", "wrong-restore")]
        assert case.fault.parameters == (
            ("tables", "public.price"), ("lost", "2, 4, 5, 6"), ("version", "1")
        )  # fmt: skip
        found = case.damage("public.price")
        assert case.damage("public.stock") == []
    six, twenty, last = (
        f'{{"id":"{n}","amount":"{amount}"}}'
        for n, amount in ((6, "6.00"), (20, "320.00"), (21, "8.99"))
    )
    assert found == [
        Damaged('{"id":"3"}', "amount", "lost-work", "stale", "3.00", "103.00", "203.00"),
        Damaged('{"id":"4"}', "amount", "lost-work", "stale", "4.00", "4.00", "204.00"),
        Damaged('{"id":"5"}', "amount", "lost-work", "stale", "5.00", "5.00", "205.00"),
        Damaged('{"id":"6"}', "", "direct", "stale", six, six, None),
        Damaged('{"id":"7"}', "amount", "lost-work", "stale", "7.00", "7.00", "307.00"),
        Damaged('{"id":"20"}', "", "lost-work", "stale", None, None, twenty),
        Damaged('{"id":"21"}', "", "lost-work", "stale", None, None, last),
    ]


def test_it_must_lose_where_everything_at_the_end_is_gone(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, after("1", "2", "3"), LOG) as case:
        assert ("", "wrong-restore") not in case.faults + case.alternatives


def test_one_step_that_left_nothing_is_no_version(scratch, tmp_path):
    """Step 2 was taken back by hand, for reasons of somebody's own."""
    happened = after("1", "3", "4", "5", "6", "7", "8")
    with located(scratch, tmp_path, BACKUP, happened, LOG) as case:
        assert ("", "wrong-restore") not in case.faults + case.alternatives


@pytest.mark.parametrize(
    ("what", "suspect", "faults"),
    [
        ("Restored price from an older copy", True, [("6", "wrong-restore")]),
        ("Restored price from an older copy", False, []),
        ("Restored stock from an older copy", True, []),
    ],
)
def test_somebody_suspects_that_it_was_a_restore(scratch, tmp_path, what, suspect, faults):
    """Two steps are fewer than a version needs; words that name the table make up for that."""
    restored = Step("6", 0, what, None, suspect=suspect, at=START)
    steps = [LOG[0], LOG[1], LOG[2], restored, LOG[7]]
    happened = f"CREATE TEMP TABLE saved AS TABLE price; {after('1', '2', '3')} {PUT_BACK}" + after(
        "8"
    )
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == faults
        found = {(one.key, one.target, one.grade) for one in case.damage("public.price")}
    wanted = {"1": "101.00", "2": "102.00", "3": "203.00", "4": "204.00", "5": "205.00"}
    assert found == {(f'{{"id":"{n}"}}', one, "stale") for n, one in wanted.items() if faults}


def test_a_log_that_is_complete(scratch, tmp_path):
    happened = SAVED + after("2", "3", "4", "5", "6", "7") + PUT_BACK + after("8")
    with located(scratch, tmp_path, BACKUP, happened, LOG, complete=True) as case:
        assert case.faults == [("", "wrong-restore")]
        grades = {(one.key, one.grade) for one in case.damage("public.price")}
    assert grades == {(f'{{"id":"{n}"}}', "proven") for n in (3, 4, 5, 6, 7, 20, 21)}


def test_triggers_are_silent_when_files_are_put_back(scratch, tmp_path):
    """Two tables that hang together; every change of a price is noted down."""
    backup = f"""
    {BACKUP}
    CREATE TABLE noted (id serial PRIMARY KEY, price int, amount numeric(10,2));
    CREATE TABLE offer (id int PRIMARY KEY, price int NOT NULL REFERENCES price, text text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO noted (price, amount) VALUES (OLD.id, OLD.amount); RETURN NEW; END';
    CREATE TRIGGER note AFTER UPDATE ON price FOR EACH ROW EXECUTE FUNCTION note();
    """
    offers = step("9", "INSERT INTO offer VALUES (1, 20, 'x'), (2, 1, 'y'), (3, 21, 'z')")
    last = step("10", "UPDATE stock SET pieces = 0 WHERE id = 12")
    put_back = """
    DELETE FROM offer; ALTER TABLE price DISABLE TRIGGER USER; DELETE FROM price;
    INSERT INTO price SELECT n, n FROM generate_series(1, 12) AS n;
    ALTER TABLE price ENABLE TRIGGER USER;
    """
    happened = f"{after(*TEXTS)} {offers.action.text}; {put_back} {last.action.text};"
    with located(scratch, tmp_path, backup, happened, [*LOG, offers, last]) as case:
        assert case.faults == [("", "wrong-restore")]
        assert case.fault.parameters == (
            ("tables", "public.offer, public.price"),
            ("lost", "1, 2, 4, 5, 6, 8, 9"),
        )
        assert case.damage("public.noted") == []
        assert [one.key for one in case.damage("public.offer")] == [
            f'{{"id":"{n}"}}' for n in (1, 2, 3)
        ]
        assert len(case.damage("public.price")) == 11
