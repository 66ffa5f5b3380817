"""Score the product on a case: it is run as a program, its script is run by psql on a copy of the
damaged database, and what is there afterwards is compared with the truth cell by cell."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.generator import Case, load_dump
from recovery.demo.bundle import Server
from recovery.demo.twin import Row, State, TableShape, compact, prepare, read_state, shapes

PRODUCT = (sys.executable, "-m", "cli.main")
SAFE = ("proven", "consistent")
_ROOT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = 600
_REFUSED = 4


@dataclass(frozen=True, slots=True)
class Repair:
    """What applying a script did, in cells; a row that appears or goes counts as one."""

    written: int
    harmed: int  # written, and not as the truth has it: must be 0
    legitimate_lost: int  # was as the truth has it, and is no more: must be 0
    restored: int  # restorable cells that are as the truth has them now
    restorable: int
    restored_records: int = 0  # of these, in tables to which triggers append what happened
    restorable_records: int = 0

    @property
    def share(self) -> float:
        return self.restored / self.restorable if self.restorable else 1.0

    @property
    def share_of_data(self) -> float:
        """The share without the cells of record tables."""
        wanted = self.restorable - self.restorable_records
        return (self.restored - self.restored_records) / wanted if wanted else 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """One case. `trouble` says what did not run; its figures are then those of doing nothing."""

    verdict: str
    verdict_right: bool
    fault_right: bool
    repair: Repair
    wrong_safe: int  # cells graded proven or consistent whose target is not the truth: must be 0
    safe: int
    seconds: float
    trouble: str = ""

    @property
    def gates_hold(self) -> bool:
        return not (self.repair.harmed or self.repair.legitimate_lost or self.wrong_safe)


def score(server: Server, case: Case, work: Path, product: Sequence[str] = PRODUCT) -> Score:
    """Run the whole way on the case in `work`, which must not exist yet."""
    started = time.monotonic()
    folder, out = work / "case", work / "out"
    work.mkdir(parents=True)
    trouble, script = _run_product(case, folder, out, product)
    seconds = time.monotonic() - started
    assessment = _assessment(folder)
    repair = repaired(server, case, script)
    safe, wrong = _safe_cells(folder / "damage.parquet", case)
    verdict = str(assessment.get("verdict", "none"))
    expected = "damaged" if case.cells else "clean"
    return Score(
        verdict=verdict,
        verdict_right=verdict == expected,
        fault_right=_fault_right(assessment, case),
        repair=repair,
        wrong_safe=wrong,
        safe=safe,
        seconds=seconds,
        trouble=trouble,
    )


def repaired(server: Server, case: Case, script: Path | None) -> Repair:
    """Load the damaged database, run the script on it as a person would, and compare."""
    database = "scored"
    server.drop(database)
    server.create(database)
    try:
        load_dump(server, case.folder / "current.sql", database)
        before = _state(server, database)
        if script is not None:
            load_dump(server, script, database)
        after = _state(server, database)
    finally:
        server.drop(database)
    return compared(case, before, after)


def compared(case: Case, before: State, after: State) -> Repair:
    """The state of the damaged database before and after a repair, against the truth."""
    truth = case.worlds.intended.state
    written = harmed = lost = 0
    for shape in case.worlds.tables:
        old, new, right = before[shape.name], after[shape.name], truth[shape.name]
        for key in old.keys() | new.keys():
            if old.get(key) == new.get(key):
                continue
            for was, now, should in _cells(old.get(key), new.get(key), right.get(key)):
                written += 1
                harmed += now != should
                lost += was == should and now != should
    shape_of = {shape.name: shape for shape in case.worlds.tables}
    wanted = [true.cell for true in case.cells if true.restorable]
    restored = [
        cell
        for cell in wanted
        if _value(shape_of[cell.table], after, cell.key, cell.column)
        == _value(shape_of[cell.table], truth, cell.key, cell.column)
    ]
    in_records = [
        sum(cell.table in case.plan.suite.records for cell in cells) for cells in (restored, wanted)
    ]
    return Repair(written, harmed, lost, len(restored), len(wanted), *in_records)


def _cells(
    old: Row | None, new: Row | None, right: Row | None
) -> list[tuple[object, object, object]]:
    """The written cells of one row: before, after, truth. Rows that came or went count whole."""
    if old is None or new is None or right is None:
        return [(old, new, right)]
    return [
        (was, now, should) for was, now, should in zip(old, new, right, strict=True) if was != now
    ]


def _value(shape: TableShape, state: State, key: str, column: str) -> object:
    row = state[shape.name].get(key)
    if row is None or not column:
        return row
    return (row[shape.columns.index(column)],)


def _state(server: Server, database: str) -> State:
    with server.connect(database) as connection:
        prepare(connection)
        return read_state(connection, shapes(connection))


def _run_product(
    case: Case, folder: Path, out: Path, product: Sequence[str]
) -> tuple[str, Path | None]:
    """What went wrong ('' when nothing did) and the script, if one was made."""
    given = ("--backup", case.folder / "backup.sql", "--current", case.folder / "current.sql")
    code, said = _call(
        product, "assess", *given, "--steps", case.folder / "steps.yaml", "--case", folder
    )
    if code not in (0, 1):
        return f"assess: exit {code}: {said}", None
    if code == 0:
        return "", None
    for arguments in (
        ("agree", folder, "--by", "customer"),
        ("decide", folder, "safe", "approve", "--by", "bench", "--accept", "all"),
        ("script", folder, "-o", out),
    ):
        code, said = _call(product, *arguments)
        if code == _REFUSED and arguments[0] == "decide" and "no group" in said:
            return "", None  # nothing is safe: nothing is repaired
        if code not in (0, 1):
            return f"{arguments[0]}: exit {code}: {said}", None
    script = out / "repair.sql"
    return ("", script) if script.exists() else ("script: no repair.sql", None)


def _call(product: Sequence[str], *arguments: object) -> tuple[int, str]:
    command = [*product, *(str(one) for one in arguments)]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    return done.returncode, (done.stderr or done.stdout).strip()[-400:]


def _assessment(folder: Path) -> dict[str, object]:
    file = folder / "assessment.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def _fault_right(assessment: dict[str, object], case: Case) -> bool:
    """The most probable fault is the true one, step and class; no fault where there is none."""
    found = assessment.get("faults")
    faults = found if isinstance(found, list) else []
    if case.fault is None or not case.cells:
        return not faults
    first = faults[0] if faults else {}
    return (first.get("step"), first.get("class")) == (case.fault.step, case.fault.fault_class)


def _safe_cells(parquet: Path, case: Case) -> tuple[int, int]:
    """How many cells the product calls proven or consistent, and how many of their targets are
    wrong."""
    if not parquet.exists():
        return 0, 0
    query = 'SELECT "table", key, "column", target FROM read_parquet(?) WHERE grade IN (?, ?)'
    rows = duckdb.execute(query, [str(parquet), *SAFE]).fetchall()
    wrong = sum(not _is_true(case, *row) for row in rows)
    return len(rows), wrong


def _is_true(case: Case, table: str, key: str, column: str, target: str | None) -> bool:
    shape = next((one for one in case.worlds.tables if one.name == table), None)
    if shape is None:
        return False
    row = case.worlds.intended.state[table].get(key)
    if row is None:
        return not column and target is None
    if not column:
        whole = compact(dict(zip(shape.columns, row, strict=True)))
        return target is not None and json.loads(target) == json.loads(whole)
    return row[shape.columns.index(column)] == target
