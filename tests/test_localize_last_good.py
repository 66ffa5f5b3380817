"""Other backups hold later values than the one the log starts from: the newest from before the
fault is the last copy of what nothing else shows."""

from datetime import timedelta

from recovery.model import Complaint
from tests.located import START, located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, name text, price numeric(10,2) NOT NULL);
INSERT INTO product SELECT n, 'p' || n, n + 0.25 FROM generate_series(1, 12) AS n;
"""
EDITED = "UPDATE product SET price = 50.00 WHERE id = 3; UPDATE product SET name = 'q' WHERE id = 4"
LATER = "UPDATE product SET price = 60.00 WHERE id = 3"
STEPS = [step("30", "UPDATE product SET price = 2.25 WHERE id = 1")]  # lost its WHERE
FAULT = "UPDATE product SET price = 2.25"
DELETION = [step("30", "DELETE FROM product WHERE id = 5")]
EVENING = START - timedelta(hours=6)


def prices(case):
    return case.targets("public.product", "price")


def test_without_another_backup_it_is_stale(scratch, tmp_path):
    with located(scratch, tmp_path, BACKUP, f"{EDITED}; {FAULT}", STEPS) as case:
        assert prices(case)["3"] == ("3.25", "stale")


def test_the_newest_from_before_the_fault_holds_the_last_copy(scratch, tmp_path):
    others = [
        (EVENING, EDITED),
        (START + timedelta(minutes=20), f"{EDITED}; {LATER}"),
        (START + timedelta(minutes=40), f"{EDITED}; {LATER}; {FAULT}"),  # it has the damage
    ]
    happened = f"{EDITED}; {LATER}; {FAULT}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS, others=others) as case:
        found = prices(case)
    others = {str(n): (f"{n + 0.25:.2f}", "derived") for n in range(4, 13)}
    assert found == {"3": ("60.00", "derived"), **others}


def test_a_backup_of_unknown_age_tells_nothing(scratch, tmp_path):
    happened = f"{EDITED}; {FAULT}"
    with located(scratch, tmp_path, BACKUP, happened, STEPS, others=[(None, EDITED)]) as case:
        assert prices(case)["3"] == ("3.25", "stale")


def test_rows_come_back_as_they_were_then(scratch, tmp_path):
    happened = f"{EDITED}; DELETE FROM product"
    with located(scratch, tmp_path, BACKUP, happened, DELETION, others=[(EVENING, EDITED)]) as case:
        assert case.faults == [("30", "missing-where")]
        found = {one.key: (one.target, one.grade) for one in case.damage("public.product")}
    assert found['{"id":"3"}'] == ('{"id":"3","name":"p3","price":"50.00"}', "derived")
    assert found['{"id":"4"}'] == ('{"id":"4","name":"q","price":"4.25"}', "derived")
    assert found['{"id":"6"}'] == ('{"id":"6","name":"p6","price":"6.25"}', "derived")
    assert len(found) == 11


def test_a_backup_that_may_be_younger_than_the_fault(scratch, tmp_path):
    """Nobody wrote down when it happened; the backup has it already."""
    unlogged = "UPDATE product SET price = 5.00 WHERE id > 2"
    said = [
        Complaint("public.product", (("id", str(n)),), "price", f"{n + 0.25}", has_value=True)
        for n in (4, 6, 8)
    ]
    others = [(START + timedelta(minutes=20), unlogged)]
    steps = [step("30", "UPDATE product SET name = 'x' WHERE id = 1")]
    with located(
        scratch, tmp_path, BACKUP, unlogged, steps, others=others, complaints=said
    ) as case:
        assert case.faults == [("", "unlogged")]
        found = {target for target, _ in prices(case).values()}
    assert "5.00" not in found
    assert len(found) == 10
