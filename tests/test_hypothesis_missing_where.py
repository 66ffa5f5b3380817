"""missing-where: where it wins, and where it must not be claimed."""

from tests.located import located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, store int NOT NULL, price numeric(10,2) NOT NULL);
INSERT INTO product SELECT n, n % 4, n * 3 + 7.5 FROM generate_series(1, 24) AS n;
"""
LOGGED = "UPDATE product SET price = price * 1.10 WHERE store = 3"


def test_it_wins(scratch, tmp_path):
    """Every row was raised; one of them was corrected by hand before, and nobody wrote it down."""
    happened = """
    UPDATE product SET price = 20.00 WHERE id = 1;
    UPDATE product SET price = price * 1.10;
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        assert case.faults == [("1", "missing-where")]
        found = case.targets("public.product", "price")
    raised = {str(n): (f"{n * 3 + 7.5:.2f}", "consistent") for n in range(2, 25) if n % 4 != 3}
    assert found == {"1": (None, "undecided"), **raised}


def test_it_must_lose_against_legitimate_work_on_a_few_rows(scratch, tmp_path):
    happened = f"""
    {LOGGED};
    UPDATE product SET price = price * 1.10 WHERE id = 2;
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
