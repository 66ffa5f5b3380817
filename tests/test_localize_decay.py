"""Slow corruption over several backups: where it is told, what it must lose to, and what the
targets are when work went on in between."""

from datetime import timedelta

from recovery.model import Complaint
from tests.located import START, located, step

BACKUP = """
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, state text NOT NULL,
    price numeric(12,3) NOT NULL, qty int NOT NULL);
INSERT INTO item SELECT n, 'Größe ' || chr(64 + n % 20) || n, 'A', n * 123.456, n * 1000
    FROM generate_series(1, 40) AS n;
CREATE TABLE other (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO other SELECT n, n FROM generate_series(1, 9) AS n;
"""
TOUCHED = (
    BACKUP
    + """
ALTER TABLE item ADD COLUMN touched timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.touched := now(); RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch();
"""
)
STEPS = [step("1", "UPDATE other SET n = n + 1 WHERE id < 5")]
DONE = STEPS[0].action.text
NIGHTS = [START + timedelta(days=n) for n in (1, 2)]
QUIET, LOUD = "ALTER TABLE item DISABLE TRIGGER USER; ", "; ALTER TABLE item ENABLE TRIGGER USER"


def course(scratch, folder, backup, first, second, third, **said):
    """Backups after the first and the second night, and today; each change is on top of those
    before."""
    others = [(NIGHTS[0], first), (NIGHTS[1], f"{first}; {second}")]
    happened = f"{DONE}; {first}; {second}; {third}"
    return located(scratch, folder, backup, happened, STEPS, others=others, **said)


def flips(*ids):
    """One bit of each: another bit from row to row."""
    bits = "; ".join(
        f"UPDATE item SET qty = (qty::bigint # {2 ** (4 + n % 15)})::int WHERE id = {n}"
        for n in ids
    )
    return f"{QUIET}{bits}{LOUD}"


def grades(case, column):
    return {one.grade for one in case.damage("public.item") if one.column == column}


def targets(case, column):
    return {key: target for key, (target, _) in case.targets("public.item", column).items()}


# --- bits -----------------------------------------------------------------------------------------


def test_bits_in_rows_that_nobody_has_touched(scratch, tmp_path):
    """In between, work went on, and moved what every writer moves."""
    work = "UPDATE item SET qty = qty + 16 WHERE id IN (30, 31)"
    with course(
        scratch, tmp_path, TOUCHED, f"{work}; SELECT 1", flips(3, 9), f"{work}; {flips(30, 12, 14)}"
    ) as case:
        assert case.faults == [("", "storage")]
        assert case.fault.cause == "hardware"
        assert targets(case, "qty") == {
            "3": "3000", "9": "9000", "12": "12000", "14": "14000",
        }  # fmt: skip
        assert grades(case, "qty") == {"consistent"}
        said = dict(case.fault.parameters)
        assert (said["after"], said["before"]) == tuple(one.isoformat() for one in NIGHTS)
        assert (
            '"course":"2026-02-28 12:00: 0, 2026-03-02 12:00: 0, 2026-03-03 12:00: 2"'
            in (case.fault.evidence[0])
        )


def test_many_bits_without_a_witness(scratch, tmp_path):
    """A copy of an old value, and no more: somebody may have written the cell since."""
    with course(scratch, tmp_path, BACKUP, flips(2), flips(3, 4, 5, 6), flips(7, 8, 9, 10)) as case:
        assert case.faults == [("", "storage")]
        assert targets(case, "qty") == {str(n): str(n * 1000) for n in range(2, 11)}
        found = case.targets("public.item", "qty")
        assert {n for n, (_, grade) in found.items() if grade == "stale"} == {"2"}
        assert {grade for _, grade in found.values()} == {"stale", "derived"}
        assert [one.id for one in case.located.questions] == ["F1-meant"]


def test_few_bits_without_a_witness_are_work(scratch, tmp_path):
    with course(scratch, tmp_path, BACKUP, flips(2), flips(3, 4), flips(7, 8)) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_one_night_is_not_slow(scratch, tmp_path):
    with course(scratch, tmp_path, BACKUP, "SELECT 1", flips(*range(2, 12)), "SELECT 1") as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_states_that_differ_in_one_bit_are_work(scratch, tmp_path):
    """A to I is one bit."""
    nights = [
        f"UPDATE item SET state = 'I' WHERE id BETWEEN {low} AND {low + 9}" for low in (1, 11, 21)
    ]
    with course(scratch, tmp_path, BACKUP, *nights) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_stock_that_goes_up_and_down_is_work(scratch, tmp_path):
    nights = [
        f"UPDATE item SET qty = qty + (id * {n} % 7) * 16 - id % 3 WHERE id % 3 <> {n}"
        for n in (0, 1, 2)
    ]
    with course(scratch, tmp_path, BACKUP, *nights) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_bits_that_every_writer_has_signed_are_work(scratch, tmp_path):
    def loud(*ids):
        return flips(*ids).replace("DISABLE", "ENABLE")

    nights = loud(2, 3, 4), loud(5, 6, 7), loud(8, 9, 10, 11)
    with course(scratch, tmp_path, TOUCHED, *nights) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_a_log_that_holds_everything_is_a_witness(scratch, tmp_path):
    nights = flips(2), flips(3, 4), "SELECT 1"
    with course(scratch, tmp_path, BACKUP, *nights, covered=["public.item"]) as case:
        assert case.faults == [("", "storage")]
        assert targets(case, "qty") == {str(n): str(n * 1000) for n in (2, 3, 4)}
        assert '"after"' in case.fault.evidence[-1]


def test_cells_that_the_customer_calls_fine(scratch, tmp_path):
    fine = [Complaint("public.item", (("id", "3"),), "qty", fine=True)]
    nights = flips(2), flips(3, 4, 5, 6), flips(7, 8, 9, 10)
    with course(scratch, tmp_path, BACKUP, *nights, complaints=fine) as case:
        assert case.faults == []


# --- texts and numbers that get worse ------------------------------------------------------------

MISREAD = "name = convert_from(convert_to(name, 'UTF8'), 'LATIN1')"
BACK = "name = convert_from(convert_to(name, 'LATIN1'), 'UTF8')"


def test_texts_misread_once_more_each_night(scratch, tmp_path):
    """Row 5 was renamed after the first night, when it was still good."""
    nights = [
        f"UPDATE item SET {MISREAD} WHERE id BETWEEN 10 AND 14;"
        " UPDATE item SET name = 'Süßes' WHERE id = 5",
        f"UPDATE item SET {MISREAD} WHERE id BETWEEN 5 AND 19",
        f"UPDATE item SET {MISREAD} WHERE id BETWEEN 5 AND 24",
    ]
    with course(scratch, tmp_path, BACKUP, *nights) as case:
        assert case.faults == [("", "double-encoding")]
        assert targets(case, "name") == {
            str(n): "Süßes" if n == 5 else f"Größe {chr(64 + n % 20)}{n}" for n in range(5, 25)
        }
        found = case.targets("public.item", "name")
        assert found["5"][1] == "derived"
        assert '2026-03-02 12:00: 5, 2026-03-03 12:00: 15","today":20' in case.fault.evidence[-2]


def test_numbers_rounded_again_each_night(scratch, tmp_path):
    nights = [
        f"UPDATE item SET price = round(price, {digits}) WHERE id BETWEEN 10 AND {last}"
        for digits, last in ((2, 18), (1, 22), (0, 26))
    ]
    with course(scratch, tmp_path, BACKUP, *nights) as case:
        assert case.faults == [("", "mangled-values")]
        assert targets(case, "price")["11"] == "1358.016"
        assert grades(case, "price") <= {"stale", "derived"}


def test_prices_that_were_made_round_once_are_work(scratch, tmp_path):
    nights = [
        f"UPDATE item SET price = round(price) WHERE id BETWEEN {low} AND {low + 9}"
        for low in (1, 11, 21)
    ]
    with course(scratch, tmp_path, BACKUP, *nights) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_texts_that_were_edited_are_work(scratch, tmp_path):
    nights = [
        f"UPDATE item SET name = 'Neu ' || id || '{n}' WHERE id % 4 = {n};"
        f" INSERT INTO item SELECT {100 * n + 100} + m, 'Größe', 'A', 1, 1"
        " FROM generate_series(1, 9) m"
        for n in range(3)
    ]
    with course(scratch, tmp_path, BACKUP, *nights) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


# --- the newest backup is bad too -----------------------------------------------------------------


def test_the_backup_that_the_log_starts_from_is_bad_already(scratch, tmp_path):
    """Two backups are older: most of the damage is in all that differs from the current data."""
    worse = f"UPDATE item SET {MISREAD} WHERE id"
    older = [
        (START - timedelta(days=3), f"UPDATE item SET {BACK}, qty = qty + 1 WHERE id <= 12"),
        (START - timedelta(days=2), f"UPDATE item SET {BACK} WHERE id BETWEEN 5 AND 12"),
    ]
    base = BACKUP + f"; {worse} <= 12"
    with located(
        scratch, tmp_path, base, f"{DONE}; {worse} BETWEEN 13 AND 15", STEPS, others=older
    ) as case:
        assert case.faults == [("", "double-encoding")]
        assert targets(case, "name") == {
            str(n): f"Größe {chr(64 + n % 20)}{n}" for n in range(1, 16)
        }
        assert targets(case, "qty") == {}


def test_a_backup_that_has_the_damage_is_no_last_good_one(scratch, tmp_path):
    """One night only: the fault is found from the texts; what the backups tell is when."""
    worse = f"UPDATE item SET {MISREAD} WHERE id <= 20"
    with course(scratch, tmp_path, BACKUP, "SELECT 1", worse, "SELECT 1") as case:
        assert case.faults == [("", "double-encoding")]
        assert targets(case, "name")["3"] == "Größe C3"
        said = dict(case.fault.parameters)
        assert (said["after"], said["before"]) == tuple(one.isoformat() for one in NIGHTS)


def test_backups_of_unknown_age_tell_no_course(scratch, tmp_path):
    others = [(None, flips(2)), (None, flips(2, 3, 4, 5, 6))]
    happened = f"{DONE}; {flips(2, 3, 4, 5, 6, 7, 8, 9, 10, 11)}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS, others=others) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
