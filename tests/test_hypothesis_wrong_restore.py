"""wrong-restore: where it wins, and where it must not be claimed."""

from datetime import timedelta

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


TOUCHED = f"""
{BACKUP}
ALTER TABLE price ADD touched timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00.5+00';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.touched := now(); RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON price FOR EACH ROW EXECUTE FUNCTION touch();
"""
TOUCHED_LOG = [
    step("1", "UPDATE price SET amount = 100 + id WHERE id IN (2, 3, 5)"),
    step("2", "UPDATE price SET amount = amount + 7 WHERE id IN (11, 12)"),
    step("3", "UPDATE stock SET pieces = pieces + 1"),
    step("4", "UPDATE price SET amount = amount * 2 WHERE id IN (3, 4)"),
    step("5", "UPDATE price SET amount = 0.5 WHERE id IN (7, 12)"),
]


def as_at(*names: str) -> str:
    """The steps at the times that the log gives them, to the microsecond."""
    return at_times({one.id: one for one in TOUCHED_LOG}, names)


def at_times(log, names) -> str:
    return "".join(f"{pinned(log[name].at)} {log[name].action.text};" for name in names)


def pinned(at) -> str:
    """From now on the trigger says this time."""
    return f"""
    CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN NEW.touched := '{at.isoformat()}'; RETURN NEW; END$$;
    """


RESTORED_AT = START + timedelta(minutes=3, seconds=20, microseconds=123456)
OVER = """
INSERT INTO price (id, amount) SELECT n, n FROM generate_series(1, 8) AS n
    ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount;
"""


@pytest.mark.parametrize("complete", [True, False])
def test_rows_that_bear_the_time_of_the_restore(scratch, tmp_path, complete):
    """The first eight rows of twelve were put back, also those that nobody had changed, and some
    were changed again afterwards."""
    happened = as_at("1", "2", "3") + pinned(RESTORED_AT) + OVER + as_at("4", "5")
    happened += pinned(START)
    with located(scratch, tmp_path, TOUCHED, happened, TOUCHED_LOG, complete=complete) as case:
        assert case.faults == [("", "wrong-restore")]
        assert dict(case.fault.parameters)["moment"] == str(RESTORED_AT)
        amounts = case.targets("public.price", "amount")
        times = case.targets("public.price", "touched")
    first, second, untouched = (
        f"2026-0{month} {clock}"
        for month, clock in (
            ("3-01", "12:01:00+00"),
            ("3-01", "12:04:00+00"),
            ("1-01", "00:00:00.5+00"),
        )
    )
    grade, timed = ("proven", "consistent") if complete else ("stale", "stale")
    assert amounts == {"2": ("102.00", grade), "3": ("206.00", grade), "5": ("105.00", grade)}
    assert times == {
        "1": (untouched, timed),
        "2": (first, timed),
        "5": (first, timed),
        "6": (untouched, timed),
        "8": (untouched, timed),
    }
    assert second not in {value for value, _ in times.values()}


@pytest.mark.parametrize(
    "more", ["", "UPDATE price SET amount = amount + 1 WHERE id > 7"], ids=["", "and more"]
)
def test_somebody_took_a_step_back(scratch, tmp_path, more):
    """What a step did was undone by a statement like its own; at the same moment somebody did other
    work. Rows that were put back would be as they were in the backup, others than the step's too.
    """
    raised = step("1", "UPDATE price SET amount = amount + 100 WHERE id < 9")
    undone = "UPDATE price SET amount = amount - 100 WHERE id < 9"
    first, *since = [raised, *TOUCHED_LOG[1:3], TOUCHED_LOG[4]]
    happened = pinned(first.at) + f"{first.action.text};" + pinned(RESTORED_AT)
    happened += f"{undone}; {more};" + as_at(*(one.id for one in since)) + pinned(START)
    with located(scratch, tmp_path, TOUCHED, happened, [first, *since]) as case:
        assert ("", "wrong-restore") not in case.faults + case.alternatives


def test_rows_that_bear_a_time_of_which_nothing_is_gone(scratch, tmp_path):
    """Somebody wrote the rows as they were: whatever that was, it put nothing back."""
    happened = as_at("1", "2", "3") + pinned(RESTORED_AT)
    happened += "UPDATE price SET amount = amount WHERE id < 9;" + as_at("4", "5") + pinned(START)
    with located(scratch, tmp_path, TOUCHED, happened, TOUCHED_LOG, complete=True) as case:
        assert ("", "wrong-restore") not in case.faults + case.alternatives


PARTS = [
    step(str(n), f"UPDATE price SET amount = {n} * 100 WHERE id = {n + 1}") for n in range(1, 12)
]


def test_rows_side_by_side_without_a_time(scratch, tmp_path):
    """Of the first eight rows nothing is left of the first six steps; rows behind them, and steps
    since then, are as they should be."""
    texts = [one.action.text for one in PARTS]
    before, after_it = texts[:3] + texts[7:10], [*texts[3:7], texts[10]]
    log = [step(str(n), text) for n, text in enumerate([*before, *after_it], 1)]
    happened = ";".join([*before, OVER.strip().rstrip(";"), *after_it]) + ";"
    with located(scratch, tmp_path, BACKUP, happened, log, complete=True) as case:
        assert case.faults == [("", "wrong-restore")]
        assert dict(case.fault.parameters)["lost"] == "1, 2, 3"
        assert case.targets("public.price", "amount") == {
            "2": ("100.00", "proven"), "3": ("200.00", "proven"), "4": ("300.00", "proven")
        }  # fmt: skip


def test_rows_here_and_there_are_not_side_by_side(scratch, tmp_path):
    """Between the rows that are as they were, as many are as they should be."""
    texts = [one.action.text for one in PARTS]
    happened = ";".join(texts) + ";UPDATE price SET amount = id WHERE id IN (2, 4, 6, 8, 10);"
    with located(scratch, tmp_path, BACKUP, happened, PARTS, complete=True) as case:
        assert ("", "wrong-restore") not in case.faults + case.alternatives


@pytest.mark.parametrize("complete", [True, False])
def test_what_was_put_back_hides_work_that_nobody_wrote_down(scratch, tmp_path, complete):
    """Somebody had added a mark before the restore; what a later step made of the old value is
    there, and tells nothing of it."""
    backup = f"{BACKUP} ALTER TABLE price ADD marks jsonb NOT NULL DEFAULT '[\"old\"]';"
    log = [
        step(
            str(n), f"UPDATE price SET marks = marks || '\"m{n}\"' WHERE id BETWEEN {n} AND {n + 4}"
        )
        for n in (1, 2, 3)
    ]
    log.append(step("4", "UPDATE price SET amount = amount + 1 WHERE id < 4"))
    log.append(step("5", "UPDATE price SET marks = marks || '\"last\"' WHERE id = 2"))
    log.append(step("6", "UPDATE price SET marks = marks || '\"else\"' WHERE id = 12"))
    texts = [one.action.text for one in log]
    by_hand = [] if complete else ["UPDATE price SET marks = marks || '\"mine\"' WHERE id = 2"]
    put_back = "UPDATE price SET amount = id, marks = '[\"old\"]' WHERE id < 9"
    happened = ";".join([*texts[:4], *by_hand, put_back, *texts[4:]]) + ";"
    with located(scratch, tmp_path, backup, happened, log, complete=complete) as case:
        assert case.faults == [("", "wrong-restore")]
        found = case.targets("public.price", "marks")
    assert len(found) == 7
    assert {grade for _, grade in found.values()} == {"proven" if complete else "stale"}
