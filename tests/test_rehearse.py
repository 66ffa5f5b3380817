"""A rehearsal passes a right script and fails a wrong one; `test_a_right_script_passes` is the
control of the wrong plans."""

from dataclasses import replace

import pytest

from recovery.rehearse import rehearse
from tests.scripted import compact, damage
from tests.test_script_shapes import FAULTS, FIRED, PARENTS, QUIET, SHOP, TRIGGERS

CLAIMS = [
    "applied", "residual", "collateral", "constraints", "sequences", "triggers", "again", "undo",
    "moved on", "killed in the middle",
]  # fmt: skip


def rehearsed(case, scripts, **options):
    repair, undo = scripts
    found = rehearse(
        repair, undo, case.groups, case.facts, case.cluster, case.database, proposal=True, **options
    )
    assert [check.name for check in found.checks] == CLAIMS
    assert found.body_digest == repair.digest
    assert case.now() == case.broken
    assert not [name for name in case.cluster.databases() if name.startswith("rehearsal")]
    return found


def failed(found):
    return [check.name for check in found.checks if not check.passed]


@pytest.mark.parametrize("fault", ["cells", "all at once"])
def test_a_right_script_passes(scratch, database, fault):
    case = damage(scratch, database, SHOP, FAULTS[fault], parents_first=PARENTS)
    found = rehearsed(case, case.scripts())
    assert failed(found) == [], found
    figures = dict(next(check.figures for check in found.checks if check.name == "residual"))
    planned = sum(group.operation.cells for group in case.groups)
    assert figures == {"planned": planned, "reached": planned, "residual": 0}


def test_a_table_without_key_passes(scratch, database):
    setup = "CREATE TABLE log (a int, b text); INSERT INTO log VALUES (1, 'x'), (1, 'x'), (2, '')"
    fault = "DELETE FROM log WHERE ctid = '(0,1)'; INSERT INTO log VALUES (5, NULL)"
    case = damage(scratch, database, setup, fault)
    assert failed(rehearsed(case, case.scripts())) == []


def test_skipping_passes(scratch, database):
    case = damage(scratch, database, SHOP, FAULTS["cells"], parents_first=PARENTS)
    found = rehearsed(case, case.scripts(on_moved="skip"), on_moved="skip")
    assert failed(found) == [], found
    assert "skipped: 1" in found.checks[8].detail


def test_a_trigger_that_writes_is_collateral(scratch, database):
    fault = QUIET.format("UPDATE t SET v = 'x';")
    quiet = damage(scratch, database, TRIGGERS + FIRED, fault, disabled=("touch", "note"))
    assert failed(rehearsed(quiet, quiet.scripts())) == []
    quiet.groups = tuple(
        replace(group, operation=replace(group.operation, disabled_triggers=()))
        for group in quiet.groups
    )
    found = failed(rehearsed(quiet, quiet.scripts()))
    assert found == ["collateral", "undo"]


WRONG = {
    "two targets are swapped": """UPDATE staged SET target = CASE key WHEN '{"id":"1"}'
        THEN '999.00' ELSE '10.00' END WHERE key IN ('{"id":"1"}', '{"id":"2"}')""",
    "a row is missing": """DELETE FROM staged WHERE key = '{"id":"1"}'""",
    "a row too many": """INSERT INTO staged SELECT "group", "table", '{"id":"35"}', "column",
        '350.00', '1.00' FROM staged LIMIT 1""",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_plan_fails(scratch, database, wrong):
    case = damage(scratch, database, SHOP, FAULTS["cells"], parents_first=PARENTS)
    planned = case.groups
    case.facts.execute("CREATE TABLE kept AS FROM staged")
    case.facts.execute(WRONG[wrong])
    (rows,) = case.facts.execute("SELECT count(*) FROM staged").fetchone()
    (group,) = planned
    case.groups = (replace(group, operation=replace(group.operation, rows=rows, cells=rows)),)
    bad = case.scripts()
    case.groups = planned
    case.facts.execute("DELETE FROM staged; INSERT INTO staged FROM kept")

    expected = {
        "two targets are swapped": ["residual"],
        "a row is missing": ["residual", "moved on"],
        "a row too many": ["collateral"],
    }
    assert failed(rehearsed(case, bad)) == expected[wrong]


def test_a_wrong_undo_fails(scratch, database):
    case = damage(scratch, database, SHOP, FAULTS["cells"], parents_first=PARENTS)
    repair, undo = case.scripts()
    body = undo.body.replace("'11.00'", "'11.01'")
    assert failed(rehearsed(case, (repair, replace(undo, body=body)))) == ["undo"]


def test_many_rows_are_compared_in_parts(scratch, database, monkeypatch):
    monkeypatch.setattr("recovery.rehearse.reader._ROWS_AT_A_TIME", 7)
    case = damage(scratch, database, SHOP, FAULTS["all at once"], parents_first=PARENTS)
    assert failed(rehearsed(case, case.scripts())) == []


def test_hostile_values_are_read_exactly(scratch, database):
    texts = ["a\tb", "\\N", "\n", "\\", "ё", "\r", "\b\f\v", ""]
    values = ", ".join(f"({number}, $${text}$$)" for number, text in enumerate(texts))
    setup = "CREATE TABLE t (id numeric PRIMARY KEY, v text); "
    setup += f"INSERT INTO t VALUES {values}, (1.50, NULL)"
    case = damage(scratch, database, setup, "UPDATE t SET v = 'x'")
    case.facts.execute(
        "UPDATE staged SET key = ? WHERE key = ?", [compact({"id": "1.5"}), compact({"id": "1.50"})]
    )
    assert failed(rehearsed(case, case.scripts())) == []


def test_saved_values_are_no_collateral(scratch, database):
    case = damage(scratch, database, SHOP, FAULTS["cells"], parents_first=PARENTS)
    assert failed(rehearsed(case, case.scripts(keep_saved=True))) == []
