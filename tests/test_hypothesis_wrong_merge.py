"""wrong-merge: where it wins, and where it must not be claimed."""

from recovery.model import Complaint
from tests.located import Damaged, located, step

BACKUP = """
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, active bool NOT NULL DEFAULT true);
INSERT INTO person SELECT n, 'p' || n FROM generate_series(1, 8) AS n;
CREATE TABLE booking (id int PRIMARY KEY, person int NOT NULL REFERENCES person, what text);
INSERT INTO booking SELECT n, n % 4 + 1, 'b' || n FROM generate_series(1, 24) AS n;
CREATE TABLE note (id int PRIMARY KEY, person int REFERENCES person);
INSERT INTO note VALUES (1, 2), (2, 3);
"""
LOGGED = "UPDATE booking SET what = what || '!' WHERE id = 1"
MERGED = """
UPDATE booking SET person = 3 WHERE person = 2;
UPDATE note SET person = 3 WHERE person = 2;
DELETE FROM person WHERE id = 2;
"""
MOVED = (1, 5, 9, 13, 17, 21)  # bookings of person 2


def wrong(number: int, **said) -> Complaint:
    return Complaint("public.booking", (("id", str(number)),), "person", **said)


def test_it_wins(scratch, tmp_path):
    """One booking was given to somebody else after the merge, one was made after it."""
    happened = f"""
    {LOGGED}; {MERGED}
    UPDATE booking SET person = 7 WHERE id = 21;
    INSERT INTO booking VALUES (30, 3, 'new'), (31, 4, 'new');
    """
    said = [wrong(5), wrong(9)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == [("", "wrong-merge")]
        assert case.fault.parameters == (
            ("table", "public.person"),
            ("merged", "2"),
            ("into", "3"),
            ("moved", "6"),
        )
        assert [one.id for one in case.located.questions] == ["F1-whose", "F1-again"]
        bookings = case.targets("public.booking", "person")
        notes = case.damage("public.note")
        people = case.damage("public.person")
    assert bookings == {str(n): ("2", "stale") for n in MOVED[:-1]} | {
        "21": (None, "undecided"),
        "30": (None, "undecided"),
    }
    assert notes == [Damaged('{"id":"1"}', "person", "direct", "stale", "2", "3", "2")]
    row = '{"id":"2","name":"p2","active":"t"}'
    assert people == [Damaged('{"id":"2"}', "", "direct", "stale", row, None, row)]


def test_a_record_that_is_only_marked_and_a_log_that_is_complete(scratch, tmp_path):
    marked = MERGED.replace(
        "DELETE FROM person", "UPDATE person SET active = false, name = 'merged'"
    )
    with located(
        scratch,
        tmp_path,
        BACKUP,
        f"{LOGGED}; {marked}",
        [step("1", LOGGED)],
        complaints=[wrong(5)],
        complete=True,
    ) as case:
        assert case.faults == [("", "wrong-merge")]
        bookings = case.targets("public.booking", "person")
        people = case.targets("public.person", "active")
    assert bookings == {str(n): ("2", "proven") for n in MOVED}
    assert people == {"2": ("t", "proven")}


def test_a_merge_that_nobody_complains_about_is_work(scratch, tmp_path):
    happened = f"{LOGGED}; {MERGED}"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.booking") == []


def test_it_must_lose_where_the_record_is_still_there(scratch, tmp_path):
    """Bookings were moved by a statement that nobody wrote down; nothing was merged."""
    happened = f"{LOGGED}; UPDATE booking SET person = 3 WHERE person = 2;"
    said = [wrong(5), wrong(9), wrong(13)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == [("", "unlogged")]
        bookings = case.targets("public.booking", "person")
    assert bookings == {str(n): ("2", "stale") for n in MOVED}


def test_the_log_has_the_merge_of_another_record(scratch, tmp_path):
    """Person 1 was to go into person 3; person 2 did. Nothing but the step is to blame for both."""
    meant = "UPDATE booking SET person = 3 WHERE person = 1"
    happened = f"{LOGGED}; {meant.replace('person = 1', 'person = 2')}"
    steps = [step("1", LOGGED), step("2", meant)]
    # What was overwritten blindly is stale; what was left out has its target in the log.
    for said, known in (([wrong(5), wrong(9)], {"stale", "consistent"}), ([], {"stale"})):
        with located(scratch, tmp_path, BACKUP, happened, steps, complaints=said) as case:
            assert case.faults[:1] == [("2", "wrong-merge")]
            named = dict(case.fault.parameters)
            assert (named["logged"], named["merged"], named["into"]) == ("1", "2", "3")
            grades = {one.grade for one in case.damage("public.booking") if one.column == "person"}
        assert grades == known


def test_a_key_is_never_sql(scratch, tmp_path):
    hostile = "b'); DELETE FROM note; --"
    backup = f"""
    CREATE TABLE person (id text PRIMARY KEY);
    INSERT INTO person VALUES ('a'), ('c'), ($${hostile}$$);
    CREATE TABLE booking (id int PRIMARY KEY, person text NOT NULL REFERENCES person);
    INSERT INTO booking SELECT n, (ARRAY['a', 'c', $${hostile}$$])[n % 3 + 1]
    FROM generate_series(1, 18) AS n;
    CREATE TABLE note (id int PRIMARY KEY);
    INSERT INTO note VALUES (1), (2);
    """
    meant = "UPDATE booking SET person = 'c' WHERE person = 'a'"
    happened = f"UPDATE booking SET person = 'c' WHERE person = $${hostile}$$"
    said = [wrong(2), wrong(5)]
    with located(scratch, tmp_path, backup, happened, [step("1", meant)], complaints=said) as case:
        assert case.faults == [("1", "wrong-merge")]
        assert dict(case.fault.parameters)["merged"] == hostile
        assert case.damage("public.note") == []
        assert len(case.damage("public.booking")) == 12
    statement = "UPDATE booking SET person = 'c' WHERE person = 'b''); DELETE FROM note; --'"
    assert case.fault.statement == statement


def test_a_merge_that_the_log_has_is_none(scratch, tmp_path):
    meant = "UPDATE booking SET person = 3 WHERE person = 1"
    said = [wrong(5)]
    with located(scratch, tmp_path, BACKUP, meant, [step("2", meant)], complaints=said) as case:
        assert case.faults == []
