"""Cases with a known truth: histories as SQL text, executed as meant and as it happened.

One suite, one seed, one fault class and one way of spoiling the log make one case, always the same
one. Nothing of the product is imported; see README.md for what counts as restorable.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.history import Fault, Happening, History, Plan, make_history
from benchmarks.log import Log, complain, derive, log_text
from benchmarks.storage import after, damage
from benchmarks.suites import Suite
from benchmarks.truth import (
    Cell,
    Truth,
    Worlds,
    find_truth,
    live_both,
    live_more,
    look_for_equivalents,
)
from recovery.demo.bundle import Server, TrueCell, dump
from recovery.demo.rows import make_schema
from recovery.demo.twin import differences

DEMO_SEED = 2026
ROWS = {"XXS": 300, "XS": 1_000, "S": 10_000, "M": 1_000_000}
STEPS = {"XXS": 12, "XS": 100, "S": 1_000, "M": 10_000}
_CHECKED = frozenset({"XXS", "XS"})  # what was noted is compared with what is there
_DATABASES = ("backup", "intended", "actual")
_SOFT_DELETE = "ALTER TABLE orders ADD COLUMN deleted_at timestamptz"


@dataclass(frozen=True, slots=True)
class Case:
    """A case on disk (`folder`) and its truth."""

    plan: Plan
    folder: Path
    history: History
    worlds: Worlds
    log: Log
    truth: Truth
    size_bytes: int = 0

    @property
    def kind(self) -> str:
        """What the first fault did: multiply, delete, bit-flip ...; '' for controls."""
        return self.history.faults[0].strike.kind if self.history.faults else ""

    @property
    def fault(self) -> Fault | None:
        return self.history.faults[0] if self.history.faults else None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that can be seen."""
        return tuple(one for one in self.history.faults if one.id not in self.truth.masked)

    @property
    def entries(self) -> tuple[Happening, ...]:
        return self.history.happenings

    @property
    def cells(self) -> tuple[TrueCell, ...]:
        return self.truth.cells

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong: a cell, or a sequence."""
        return bool(self.cells) or any(
            one.fault_class == "sequence-behind" for one in self.history.faults
        )


def load_backup(
    server: Server, suite: Suite, samples: Path, database: str, rows: int = ROWS["XS"]
) -> None:
    """The suite's database before anything happens; `rows` where its size can be chosen."""
    server.create(database)
    if suite.build is not None:
        with server.connect(database) as connection:
            connection.execute(suite.build(rows, DEMO_SEED).encode())
    elif suite.file:
        load_dump(server, samples / suite.file, database)
    else:
        with server.connect(database) as connection:
            make_schema(connection, DEMO_SEED)
            connection.execute(_SOFT_DELETE.encode())


def load_dump(server: Server, file: Path, database: str) -> None:
    """Run a plain dump; any error in it is an error here."""
    command = [str(server.binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    command += ["-d", server.conninfo(database), "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"psql -f {file}: {done.stderr[-2000:]}")


def make_case(
    server: Server, template: str, plan: Plan, folder: Path, *, equivalents: bool = False
) -> Case:
    """Write backup.sql, current.sql and steps.yaml into `folder`, the truth into
    `folder`/truth. `template` is the suite's loaded backup; it is left as it was. `equivalents`:
    look for other deviations that leave the same data. Raises NotHere when the suite has no place
    for the class."""
    databases = [f"case_{name}" for name in _DATABASES]
    for database in databases:
        server.drop(database)
    server.clone(template, "case_backup")
    with server.connect("case_backup") as connection:
        history = make_history(connection, plan)
    history, worlds = live_both(server, plan, history, checked=plan.size in _CHECKED)
    _spoil_storage(server, plan, history, worlds)
    log = derive(plan, history, worlds.actual)
    worlds = live_more(server, plan, history, worlds, log)
    truth = find_truth(plan, history, worlds, log)
    if equivalents:
        truth = look_for_equivalents(server, history, worlds, truth)
    if plan.complaints != "0":
        cells = [true.cell for true in truth.cells]
        right, was = _right_cells(worlds)
        log = replace(log, complaints=complain(plan, cells, right, was))
    case = Case(plan, folder, history, worlds, log, truth)
    _write(server, case)
    for database in databases:
        server.drop(database)
    return case


def _spoil_storage(server: Server, plan: Plan, history: History, worlds: Worlds) -> None:
    for fault in history.faults:
        if not fault.strike.storage:
            continue
        with server.connect("case_actual") as connection:
            now = worlds.actual.state
            damage(connection, fault.strike, worlds.tables, plan.seed, start=worlds.start, now=now)
            found = after(connection, worlds.tables)
        worlds.actual.around["storage"] = (worlds.actual.state, found)
        worlds.actual.state = found


def _right_cells(worlds: Worlds) -> tuple[list[Cell], dict[Cell, str | None]]:
    """Cells that changed since the backup and are right, and what they were."""
    right: list[Cell] = []
    was: dict[Cell, str | None] = {}
    for shape in worlds.tables:
        start, good = worlds.start[shape.name], worlds.intended.state[shape.name]
        bad = worlds.actual.state[shape.name]
        for key in sorted(start.keys() & good.keys() & bad.keys()):
            wrong = {column for column, _ in differences(shape, good[key], bad[key])}
            values = dict(zip(shape.columns, start[key], strict=True))
            for column, _ in differences(shape, start[key], good[key]):
                if column not in wrong:
                    right.append((shape.name, key, column))
                    was[shape.name, key, column] = values[column]
    return right, was


def _write(server: Server, case: Case) -> None:
    folder = case.folder
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    dump(server, "case_backup", folder / "backup.sql")
    dump(server, "case_actual", folder / "current.sql")
    dump(server, "case_intended", folder / "truth" / "intended.sql")
    (folder / "steps.yaml").write_text(log_text(case.log), encoding="utf-8")
    text = "\n".join(_truth_lines(case)) + "\n"
    (folder / "truth" / "truth.json").write_text(text, encoding="utf-8")
    lived = "\n".join(json.dumps(line, ensure_ascii=False) for line in _lived(case)) + "\n"
    (folder / "truth" / "history.jsonl").write_text(lived, encoding="utf-8")


def _truth_lines(case: Case) -> Iterator[str]:
    """truth.json: what the case is, its faults, one line per damaged cell."""
    truth, fault = case.truth, case.fault
    head = {
        "dbmend": "truth/1",
        "case": case.plan.name,
        "verdict": "damaged" if case.damaged else "clean",
        "fault": {"step": fault.step, "class": fault.fault_class} if fault else None,
        "faults": [
            {
                "id": one.id,
                "class": one.fault_class,
                "kind": one.strike.kind,
                "steps": list(one.steps),
                "parameters": dict(one.strike.parameters),
                "outside": one.strike.outside,
                "masked": one.id in truth.masked,
            }
            for one in case.history.faults
        ],
        "masked_cells": truth.masked_cells,
        "ambiguous": truth.ambiguous,
        "equivalents": list(truth.equivalents),
    }
    owner = dict(truth.fault_of)
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "cells": ['
    for number, true in enumerate(case.cells, start=1):
        cell = true.cell
        line = {
            "table": cell.table,
            "key": cell.key,
            "column": cell.column,
            "target": cell.target,
            "label": cell.label,
            "restorable": true.restorable,
            "fault": owner[cell.table, cell.key, cell.column],
        }
        comma = "," if number < len(case.cells) else ""
        yield f"  {json.dumps(line, ensure_ascii=False)}{comma}"
    yield "]}"


def _lived(case: Case) -> Iterator[dict[str, object]]:
    """Both worlds, step by step."""
    for one in case.history.happenings:
        yield {
            "id": one.id,
            "at": one.at.isoformat(),
            "fault": one.fault,
            "logged": one.logged,
            "intended": case.worlds.intended.texts.get(one.id, one.intended),
            "executed": case.worlds.actual.texts.get(one.id, one.executed),
            "failed": case.worlds.actual.failed.get(one.id, ""),
        }
