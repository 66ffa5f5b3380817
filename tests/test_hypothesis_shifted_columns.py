"""shifted-columns: where it wins, and where it must not be claimed."""

import pytest

from recovery.localize.hypotheses.shifted_columns import BLANK, NOTHING, Move, connected
from recovery.model import Complaint
from tests.located import located, step

BACKUP = """
CREATE TABLE address (
    id int PRIMARY KEY, batch int NOT NULL, street text, city text, zip text, phone text,
    given text, family text, quarter1 int, quarter2 int, quarter3 int);
INSERT INTO address
SELECT n, n % 2, 'Main St ' || n, (ARRAY['Perm', 'Omsk', 'Tver', 'Orel'])[1 + n % 4],
       (614000 + n)::text, '+7-' || n * 11, 'Given' || chr(64 + n), 'Family' || chr(90 - n),
       n, n * 3, n * 7
FROM generate_series(1, 24) AS n;
CREATE TABLE label (id int PRIMARY KEY, address int NOT NULL, city text);
"""
PHONE = "UPDATE address SET phone = '112' WHERE id = 24"
LEFT = "UPDATE address SET street = city, city = zip, zip = NULL WHERE {};"


def was(column: str, *rows: int, grade: str) -> dict[str, tuple[str, str]]:
    values = {
        "street": lambda n: f"Main St {n}",
        "city": lambda n: ("Perm", "Omsk", "Tver", "Orel")[n % 4],
        "zip": lambda n: str(614000 + n),
        "given": lambda n: f"Given{chr(64 + n)}",
    }
    return {str(n): (values[column](n), grade) for n in rows}


def test_it_wins(scratch, tmp_path):
    """One city was changed before, one street afterwards; a label was printed from the rest."""
    late = "INSERT INTO label SELECT id, id, city FROM address WHERE id IN (9, 13)"
    happened = f"""
    {PHONE};
    UPDATE address SET city = 'Tomsk' WHERE id = 3;
    {LEFT.format("id < 13")}
    UPDATE address SET street = 'Main St 500' WHERE id = 5;
    {late};
    """
    steps = [step("1", PHONE), step("2", late)]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("", "shifted-columns")]
        assert dict(case.fault.parameters) == {
            "table": "public.address",
            "moved": "street ← city, city ← zip, zip ← ∅",
            "rows": "id 1..12",
        }
        found = {one: case.targets("public.address", one) for one in ("street", "city", "zip")}
        copied = [(one.label, one.target) for one in case.damage("public.label")]
    rows = [n for n in range(1, 13) if n not in (3, 5)]
    # The city of before stands in the street; what was the street stands nowhere.
    assert found == {
        "street": was("street", *rows, grade="stale"),
        "city": was("city", *rows, grade="consistent"),
        "zip": was("zip", *rows, grade="stale"),
    }
    assert copied == [("collateral", was("city", 9, grade="")["9"][0])]


@pytest.mark.parametrize(
    ("before", "happened"),
    [
        # Quarters that move on, and names put into the right columns.
        (
            "",
            "UPDATE address SET quarter1 = quarter2, quarter2 = quarter3, quarter3 = 0;"
            "UPDATE address SET given = family, family = given WHERE id < 9;",
        ),
        # Zip and city were wrong in the backup.
        (
            "UPDATE address SET city = zip, zip = city WHERE batch = 1;",
            "UPDATE address SET city = zip, zip = city WHERE batch = 1;",
        ),
    ],
)
def test_legitimate_work_that_looks_like_it_is_kept(scratch, tmp_path, before, happened):
    backup = BACKUP + before
    with located(scratch, tmp_path, backup, f"{PHONE}; {happened}", [step("1", PHONE)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.address") == []


def test_people_say_that_two_columns_are_exchanged(scratch, tmp_path):
    said = [Complaint("public.address", (("id", "4"),), "family")]
    happened = f"{PHONE}; UPDATE address SET given = family, family = given WHERE batch = 0;"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", PHONE)], complaints=said) as case:
        assert case.faults == [("", "shifted-columns")]
        assert dict(case.fault.parameters)["rows"] == "batch = 0"
        found = case.targets("public.address", "given")
    assert found == was("given", *range(2, 25, 2), grade="consistent")


def test_the_step_that_made_the_rows_made_them_like_that(scratch, tmp_path):
    """Twelve rows were imported with the names exchanged; the log has the import as it was meant,
    and another one whose rows are right."""
    load = (
        "INSERT INTO address (id, batch, {}, {}) SELECT n, 7, 'Given' || chr(64 + n - {}), 'Family'"
        " || chr(90 - n + {}) FROM generate_series({}, {}) AS n"
    )
    right = load.format("given", "family", 99, 99, 100, 111)
    meant = load.format("given", "family", 200, 200, 201, 212)
    happened = f"{right}; {load.format('family', 'given', 200, 200, 201, 212)};"
    steps = [step("1", right), step("2", meant)]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("2", "shifted-columns")]
        found = case.targets("public.address", "given")
    assert found == {str(200 + n): (f"Given{chr(64 + n)}", "proven") for n in range(1, 13)}


def test_numbers_of_their_own_are_kept(scratch, tmp_path):
    """The rows were imported under other numbers than a replay gives them: that names in each
    other's place are no reuse of numbers, and nothing came that nobody wrote down."""
    backup = """
    CREATE TABLE guest (id serial PRIMARY KEY, house int NOT NULL, name text, email text);
    INSERT INTO guest (house, name, email) SELECT 1, 'Ann ' || n, 'ann' || n || '@example.org'
    FROM generate_series(1, 20) AS n;
    """
    load = "INSERT INTO guest (house, {}) VALUES " + ", ".join(
        f"(1, 'Guest {n}', 'guest{n}@example.org')" for n in range(12)
    )
    happened = f"SELECT setval('guest_id_seq', 800); {load.format('email, name')};"
    steps = [step("1", load.format("name, email"))]
    with located(scratch, tmp_path, backup, happened, steps, complete=True) as case:
        assert case.faults == [("1", "shifted-columns")]
        found = case.targets("public.guest", "name")
    assert found == {str(801 + n): (f"Guest {n}", "proven") for n in range(12)}


def test_it_must_lose_against_a_step_that_says_it(scratch, tmp_path):
    logged = LEFT.format("batch = 1").rstrip(";")
    with located(scratch, tmp_path, BACKUP, LEFT.format("true"), [step("1", logged)]) as case:
        assert case.faults == [("1", "missing-where")]


def test_a_complete_log_proves_it(scratch, tmp_path):
    happened = f"{PHONE}; UPDATE address SET city = zip, zip = city WHERE id IN (2, 3, 7, 11, 20);"
    steps = [step("1", PHONE)]
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("", "shifted-columns")]
        assert dict(case.fault.parameters)["rows"] == "listed"
        found = case.targets("public.address", "city")
    assert found == was("city", 2, 3, 7, 11, 20, grade="proven")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"a": "b", "b": "a"}, Move({"a": "b", "b": "a"})),
        ({"a": "b"}, None),
        ({"a": NOTHING, "b": BLANK}, None),
        ({"a": "b", "b": "c", "d": NOTHING}, Move({"a": "b", "b": "c"})),
        ({"a": NOTHING, "b": "a", "x": "y", "y": "x"}, Move({"a": NOTHING, "b": "a"})),
    ],
)
def test_what_belongs_to_one_move(source, expected):
    assert connected(source) == expected
