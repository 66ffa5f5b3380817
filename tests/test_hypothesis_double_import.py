"""double-import: where it wins, and where it must not be claimed."""

import json
from dataclasses import replace

from recovery.model import Import
from tests.located import located, step

BACKUP = """
CREATE TABLE invoice (id serial PRIMARY KEY, number text NOT NULL, amount numeric(10,2) NOT NULL,
    made timestamptz NOT NULL DEFAULT now());
CREATE TABLE line (id serial PRIMARY KEY, invoice int NOT NULL REFERENCES invoice, item text);
CREATE TABLE payment (id serial PRIMARY KEY, invoice int NOT NULL REFERENCES invoice);
INSERT INTO invoice (number, amount, made)
    SELECT 'A' || n, n, '2026-02-01' FROM generate_series(1, 5) AS n;
"""
INVOICES = """
INSERT INTO invoice (number, amount) SELECT 'B' || n, n * 7 FROM generate_series(1, 10) AS n
"""
LINES = """
INSERT INTO line (invoice, item) SELECT i.id, 'x' || k FROM
    (SELECT id FROM invoice ORDER BY id DESC LIMIT 10) AS i, generate_series(1, 2) AS k
    ORDER BY i.id, k
"""


def counted(rows) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in rows:
        found.setdefault(f"{one.label} {one.grade}", []).append(int(json.loads(one.key)["id"]))
    return found


def test_it_wins_though_no_step_says_that_anything_was_imported(scratch, tmp_path):
    """Two runs of an import with what belongs to it; one invoice of the second run was paid."""
    happened = f"""
    BEGIN; {INVOICES}; {LINES}; COMMIT;
    INSERT INTO invoice (number, amount) VALUES ('C1', 70);
    BEGIN; {INVOICES}; {LINES}; COMMIT;
    INSERT INTO invoice (number, amount) VALUES ('C2', 7);
    INSERT INTO payment (invoice) VALUES (19), (6);
    """
    log = [step("1", "UPDATE invoice SET amount = amount WHERE id = 1")]
    with located(scratch, tmp_path, BACKUP, happened, log) as case:
        assert case.faults == [("", "double-import")]
        assert case.fault.parameters == (
            ("tables", "public.invoice, public.line"),
            ("copies", "30"),
        )
        invoices = counted(case.damage("public.invoice"))
        lines = counted(case.damage("public.line"))
    assert invoices == {
        "direct consistent": [17, 18, *range(20, 27)],
        "direct undecided": [19],
    }
    assert lines == {
        "direct consistent": [*range(21, 25), *range(27, 41)],
        "direct undecided": [25, 26],
    }


def test_a_file_that_was_imported_again(scratch, tmp_path):
    """The log names the file."""
    file = tmp_path / "invoices.csv"
    file.write_text("".join(f"B{n},{n * 7}.00\n" for n in range(1, 11)), "utf-8")
    imported = replace(step("1", ""), action=Import("public.invoice", file, ("number", "amount")))
    happened = f"{INVOICES}; UPDATE invoice SET amount = 5 WHERE id = 3; {INVOICES};"
    with located(scratch, tmp_path, BACKUP, happened, [imported]) as case:
        assert case.faults == [("1", "double-import")]
        found = counted(case.damage("public.invoice"))
    assert found == {"direct consistent": list(range(16, 26))}


def test_it_must_lose_against_a_step_that_was_carried_out_again(scratch, tmp_path):
    with located(
        scratch, tmp_path, BACKUP, f"{INVOICES}; {INVOICES};", [step("1", INVOICES)], complete=True
    ) as case:
        assert case.faults == [("1", "repeated")]
        found = counted(case.damage("public.invoice"))
    assert found == {"direct proven": list(range(16, 26))}


def test_equal_rows_that_are_common_are_work(scratch, tmp_path):
    """The same ten come every month, and did so before the backup."""
    before = f"{BACKUP}; {INVOICES}; UPDATE invoice SET made = '2026-01-01'; {INVOICES};"
    with located(scratch, tmp_path, before, INVOICES, [step("1", "SELECT 1")]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_some_equal_rows_are_work(scratch, tmp_path):
    """Some of the rows of a batch happen to be like others."""
    happened = f"""
    {INVOICES};
    INSERT INTO invoice (number, amount) VALUES ('B3', 21), ('C1', 1), ('B5', 35), ('B9', 63),
        ('C7', 8), ('B1', 7), ('B2', 14);
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", INVOICES)]) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_a_batch_that_came_again_hours_later_is_never_certain(scratch, tmp_path):
    """It may be what is done every shift: shown, with what would go, for a person to decide."""
    happened = f"""
    {INVOICES}; UPDATE invoice SET made = made - interval '9 hours' WHERE id > 5; {INVOICES};
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", "SELECT 1")]) as case:
        assert case.faults == [("", "double-import")]
        assert counted(case.damage("public.invoice")) == {"direct stale": list(range(16, 26))}
