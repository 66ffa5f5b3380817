"""partial: where it wins, and where it must not be claimed."""

from tests.located import located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, store int NOT NULL, price numeric(10,2) NOT NULL,
                      state text NOT NULL);
INSERT INTO product SELECT n, n % 2, n * 3 + 7.5, 's' || n % 5 FROM generate_series(1, 40) AS n;
CREATE TABLE batch (id int PRIMARY KEY, note text NOT NULL);
"""
RAISED = "UPDATE product SET price = price * 1.10 WHERE store = 1"
MARKED = "UPDATE product SET state = 'raised' WHERE store = 1"
SCRIPT = f"INSERT INTO batch VALUES (1, 'spring'); {RAISED}; {MARKED}"


def _raised(n):
    return f"{round((n * 3 + 7.5) * 1.1 + 1e-9, 2):.2f}"


def test_the_first_statements(scratch, tmp_path):
    """The last statement was not carried out; one of its rows was changed by hand."""
    happened = f"""
    INSERT INTO batch VALUES (1, 'spring'); {RAISED};
    UPDATE product SET state = 'gone' WHERE id = 3;
    """
    steps = [step("1", SCRIPT, transaction="each")]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "partial")]
        assert dict(case.fault.parameters) == {"done": "2", "of": "3"}
        found = case.targets("public.product", "state")
    assert found == {
        "3": (None, "undecided"),
        **{str(n): ("raised", "stale") for n in range(1, 41, 2) if n != 3},
    }


def test_the_first_rows(scratch, tmp_path):
    """A program that went through the rows ended early, and reported so many."""
    happened = f"{RAISED} AND id <= 17"
    with located(scratch, tmp_path, BACKUP, happened, [step("1", RAISED, rows=9)]) as case:
        assert case.faults == [("1", "partial")]
        assert dict(case.fault.parameters) == {"done": "9", "of": "20", "last row": '{"id":"17"}'}
        found = case.targets("public.product", "price")
    assert found == {str(n): (_raised(n), "consistent") for n in range(19, 41, 2)}


def test_the_first_of_listed_rows(scratch, tmp_path):
    listed = ", ".join(f"({n}, 'n{n}')" for n in range(1, 9))
    steps = [step("1", f"INSERT INTO batch VALUES {listed}")]
    happened = "INSERT INTO batch VALUES (1, 'n1'), (2, 'n2'), (3, 'n3')"
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("1", "partial")]
        damage = [(one.label, one.grade, one.target) for one in case.damage("public.batch")]
    rows = [f'{{"id":"{n}","note":"n{n}"}}' for n in range(4, 9)]
    assert damage == [("omission", "proven", row) for row in rows]


def test_taken_back_on_purpose(scratch, tmp_path):
    """Everything was done; two of the marks were taken back."""
    happened = f"{SCRIPT}; UPDATE product SET state = 's' || id % 5 WHERE id IN (37, 39)"
    steps = [step("1", SCRIPT, transaction="each")]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])
        assert case.damage("public.product") == []
