"""id-reuse: where it wins, and where it must not be claimed."""

from recovery.model import Complaint
from tests.located import located, step

BACKUP = """
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL, mail text NOT NULL UNIQUE,
    city text NOT NULL);
INSERT INTO customer (name, mail, city)
    SELECT 'n' || n, 'm' || n, 'c' || n FROM generate_series(1, 5) AS n;
"""
LOGGED = """
INSERT INTO customer (name, mail, city)
    VALUES ('Anna', 'a@x', 'Kazan'), ('Boris', 'b@x', 'Perm'), ('Clara', 'c@x', 'Omsk')
"""
AGAIN = f"""
{LOGGED};
DELETE FROM customer WHERE id > 5; SELECT setval('customer_id_seq', 5);
INSERT INTO customer (name, mail, city)
    VALUES ('Xenia', 'x@y', 'Moscow'), ('Yuri', 'y@y', 'Tula'), ('Zoya', 'z@y', 'Omsk');
"""


def wrong(number: int, column: str) -> Complaint:
    return Complaint("public.customer", (("id", str(number)),), column)


def test_it_wins_and_nothing_is_certain(scratch, tmp_path):
    said = [wrong(6, "mail"), wrong(7, "name")]
    with located(scratch, tmp_path, BACKUP, AGAIN, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == [("", "id-reuse")]
        assert case.fault.parameters == (
            ("table", "public.customer"), ("rows", "3"), ("naming", "mail")
        )  # fmt: skip
        assert [one.id for one in case.located.questions] == ["F1-meaning"]
        found = case.damage("public.customer")
    assert {(one.key, one.column) for one in found} == {
        (f'{{"id":"{n}"}}', column)
        for n in (6, 7, 8)
        for column in ("name", "mail", "city")
        if (n, column) != (8, "city")
    }
    assert {(one.grade, one.target) for one in found} == {("undecided", None)}


def test_without_a_complaint_it_is_work(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, AGAIN, [step("1", LOGGED)]) as case:
        assert ("", "id-reuse") not in case.faults + case.alternatives
        assert case.damage("public.customer") == []


def test_it_must_lose_where_the_rows_still_have_their_names(scratch, tmp_path):
    """Much was changed, but not what names the customers."""
    happened = f"{LOGGED}; UPDATE customer SET name = name || '!', city = 'Ufa' WHERE id > 5;"
    said = [wrong(6, "city"), wrong(7, "city"), wrong(8, "city")]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert ("", "id-reuse") not in case.faults + case.alternatives
