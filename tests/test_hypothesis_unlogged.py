"""unlogged: where it wins, and where it must not be claimed."""

from recovery.model import Complaint
from tests.located import Damaged, located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, store int NOT NULL, price numeric(10,2) NOT NULL,
    state text NOT NULL DEFAULT 'open');
INSERT INTO product SELECT n, n % 4, n * 3 + 7.5 FROM generate_series(1, 24) AS n;
CREATE TABLE line (id int PRIMARY KEY, product int NOT NULL REFERENCES product ON DELETE CASCADE,
    total numeric(12,2) NOT NULL);
INSERT INTO line SELECT n, n, 1 FROM generate_series(1, 24) AS n;
"""
LOGGED = "UPDATE product SET price = price + 1 WHERE store = 3"
RAISED = "UPDATE product SET price = price * 1.5 WHERE store = 2"


def wrong(
    number: int, column: str = "price", *, table: str = "public.product", **said
) -> Complaint:
    return Complaint(table, (("id", str(number)),), column, **said)


def test_it_wins(scratch, tmp_path):
    """Prices of one store were raised, and nobody wrote it down. One of them was corrected later,
    two more were changed somewhere else: that is work."""
    happened = f"""
    {LOGGED}; {RAISED};
    UPDATE product SET price = 99 WHERE id = 6;
    UPDATE product SET price = 98 WHERE id IN (1, 4);
    """
    said = [wrong(2), wrong(10), wrong(14)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == [("", "unlogged")]
        assert case.fault.statement == (
            'UPDATE "public"."product" SET "price" = "price" * 1.5 WHERE "store" = 2'
        )
        assert case.fault.parameters == (
            ("table", "public.product"),
            ("ratio", "price: 1.5"),
            ("rows", '"store" = 2'),
        )
        found = case.targets("public.product", "price")
    raised = {str(n): (f"{n * 3 + 7.5:.2f}", "consistent") for n in (2, 10, 14, 18, 22)}
    assert found == raised | {"6": (None, "undecided")}


def test_it_is_somebodys_work_when_nobody_complains(scratch, tmp_path):
    happened = f"{LOGGED}; {RAISED};"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.product") == []


def test_it_is_somebodys_work_when_a_cell_of_it_is_known_to_be_right(scratch, tmp_path):
    happened = f"{LOGGED}; {RAISED};"
    said = [wrong(2), wrong(10, fine=True), wrong(14)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == []


def test_it_must_lose_against_a_lost_condition(scratch, tmp_path):
    """The log has a step that explains just this."""
    happened = "UPDATE product SET price = price + 1"
    said = [wrong(2), wrong(10), wrong(14)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == [("1", "missing-where")]


def test_one_complaint_may_be_a_mistake(scratch, tmp_path):
    """What one complaint says is shown, and never called certain."""
    happened = f"{LOGGED}; {RAISED};"
    with located(
        scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=[wrong(2)]
    ) as case:
        assert case.faults == [("", "unlogged")]
        found = case.targets("public.product", "price")
    assert found == {str(n): (f"{n * 3 + 7.5:.2f}", "stale") for n in (2, 6, 10, 14, 18, 22)}


def test_a_constant_over_a_range_with_what_followed_from_it(scratch, tmp_path):
    """A later step read the damaged values: its rows are damaged too. A log that is complete, and
    a complaint."""
    total = "UPDATE line l SET total = p.price * 2 FROM product p WHERE p.id = l.product"
    bad = "UPDATE product SET price = 0.99 WHERE id BETWEEN 5 AND 14 AND state = 'open'"
    happened = f"{LOGGED}; {bad}; {total}"
    log = [step("1", LOGGED), step("2", total)]
    with located(
        scratch, tmp_path, BACKUP, happened, log, complaints=[wrong(6)], complete=True
    ) as case:
        assert case.faults == [("", "unlogged")]
        prices = case.targets("public.product", "price")
        totals = case.damage("public.line")
    right = {n: n * 3 + 7.5 + (n % 4 == 3) for n in range(5, 15)}
    assert prices == {str(n): (f"{one:.2f}", "proven") for n, one in right.items()}
    assert totals == [
        Damaged(
            f'{{"id":"{n}"}}', "total", "collateral", "proven", "1.00", "1.98", f"{one * 2:.2f}"
        )
        for n, one in right.items()
    ]


def test_rows_that_are_gone_with_those_that_hung_on_them(scratch, tmp_path):
    """Three rows were deleted on purpose, by a step; one more by hand."""
    logged = "DELETE FROM product WHERE id IN (1, 5)"
    happened = f"{logged}; DELETE FROM product WHERE store = 2; DELETE FROM product WHERE id = 3"
    said = [Complaint("public.product", (("id", str(n)),), row_missing=True) for n in (2, 6, 10)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", logged)], complaints=said) as case:
        assert case.faults == [("", "unlogged")]
        assert case.fault.statement == 'DELETE FROM "public"."product" WHERE "store" = 2'
        rows = [(one.key, one.label, one.grade) for one in case.damage("public.product")]
        lines = [(one.key, one.label, one.grade) for one in case.damage("public.line")]
    gone = (2, 6, 10, 14, 18, 22)
    assert rows == [(f'{{"id":"{n}"}}', "direct", "stale") for n in gone]
    assert lines == [(f'{{"id":"{n}"}}', "cascade", "stale") for n in gone]


def test_a_suspected_step_in_words(scratch, tmp_path):
    """The log says in words that somebody worked on the state of products, and suspects it."""
    happened = "UPDATE product SET state = 'void', price = 1 WHERE store IN (1, 2);"
    log = [step("1", LOGGED), step("2", LOGGED, suspect=True)]
    words = "Ivan put products to void by hand"
    log[1] = type(log[1])("2", 0, words, None, at=log[1].at, suspect=True)
    with located(scratch, tmp_path, BACKUP, f"{LOGGED};{happened}", log) as case:
        assert case.faults == [("2", "unlogged")]
        states = case.targets("public.product", "state")
        prices = case.targets("public.product", "price")
    touched = [n for n in range(1, 25) if n % 4 in (1, 2)]
    assert states == {str(n): ("open", "stale") for n in touched}
    assert prices == {str(n): (f"{n * 3 + 7.5:.2f}", "stale") for n in touched}


def test_the_same_done_on_purpose_elsewhere_stays(scratch, tmp_path):
    """Prices of another store were raised in the same proportion, for good reasons; and one price
    of the store in question was corrected before."""
    happened = f"""
    {LOGGED}; UPDATE product SET price = 60 WHERE id = 6; {RAISED};
    UPDATE product SET price = price * 1.5 WHERE store = 1;
    """
    said = [wrong(2), wrong(10), wrong(14)]
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)], complaints=said) as case:
        assert case.faults == [("", "unlogged")]
        found = case.targets("public.product", "price")
    raised = {str(n): (f"{n * 3 + 7.5:.2f}", "consistent") for n in (2, 10, 14, 18, 22)}
    assert found == raised | {"6": (None, "undecided")}


def test_when_it_was_done_is_in_the_data(scratch, tmp_path):
    """A trigger keeps the time of the last change; a later step read the damaged values."""
    backup = f"""
    {BACKUP}
    ALTER TABLE product ADD changed timestamptz NOT NULL DEFAULT '2026-01-01';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN NEW.changed := now(); RETURN NEW; END';
    CREATE TRIGGER touch BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION touch();
    """
    total = "UPDATE line l SET total = p.price FROM product p WHERE p.id = l.product"
    happened = f"BEGIN; {RAISED}; COMMIT; {total};"
    said = [wrong(2), wrong(10), wrong(14)]
    log = [step("1", "SELECT 1"), step("999999", total)]
    with located(scratch, tmp_path, backup, happened, log, complaints=said) as case:
        assert case.faults == [("", "unlogged")]
        assert case.fault.parameters[1] == ("ratio", "price: 1.5")
        prices = case.targets("public.product", "price")
        totals = case.targets("public.line", "total")
    right = {str(n): f"{n * 3 + 7.5:.2f}" for n in (2, 6, 10, 14, 18, 22)}
    assert prices == {key: (text, "consistent") for key, text in right.items()}
    assert {key: text for key, (text, _) in totals.items()} == right
