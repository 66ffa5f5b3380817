"""What is handed over as a case, and what is kept back as the truth.

The folder gets backup.sql and current.sql (plain dumps), steps.yaml (the logged half of the
history, as it was meant), intended.sql (the world without the mistake) and truth.json. A damaged
cell is *restorable* when backup, current and log can tell its target. It is decided by two more
worlds in which only the logged steps live, with the fault and without it: the logged steps alone
must give the cell's current value with the fault and its target without it, so that nothing
unlogged has a part in it. (That is enough for a fault that tells values apart, as the demo's does.)
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recovery.demo.twin import (
    Connection,
    DamagedCell,
    Entry,
    State,
    TableShape,
    World,
    compact,
    damage,
    live,
    prepare,
    read_state,
    shapes,
)


class Server(Protocol):
    """A scratch PostgreSQL. Databases are owned by who connects."""

    binaries: Path

    def create(self, database: str) -> None: ...

    def clone(self, template: str, database: str) -> None: ...

    def drop(self, database: str) -> None: ...

    def connect(self, database: str) -> AbstractContextManager[Connection]: ...

    def conninfo(self, database: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What the truth says about the mistake."""

    step: str
    fault_class: str
    table: str


@dataclass(frozen=True, slots=True)
class Worlds:
    """The four lives of one history, and the tables they have."""

    tables: tuple[TableShape, ...]
    start: State
    intended: World
    actual: World
    logged_intended: World
    logged_actual: World


@dataclass(frozen=True, slots=True)
class TrueCell:
    cell: DamagedCell
    restorable: bool


def live_all(server: Server, prefix: str, entries: Sequence[Entry]) -> Worlds:
    """Run the history four times on copies of the database `<prefix>_backup`; the databases
    `<prefix>_intended` and `<prefix>_actual` stay, the others go."""
    logged = [entry for entry in entries if entry.logged]
    runs: tuple[tuple[str, Callable[[Entry], str]], ...] = (
        ("intended", _intended),
        ("actual", _executed),
        ("logged_intended", lambda entry: _intended(entry) if entry in logged else ""),
        ("logged_actual", lambda entry: _executed(entry) if entry in logged else ""),
    )
    worlds: dict[str, World] = {}
    with server.connect(f"{prefix}_backup") as connection:
        prepare(connection)
        tables = shapes(connection)
        start = read_state(connection, tables)
    for name, text in runs:
        database = f"{prefix}_{name}"
        server.clone(f"{prefix}_backup", database)
        partly = name.startswith("logged")
        with server.connect(database) as connection:
            worlds[name] = live(connection, entries, text, start=start, may_fail=partly)
        if partly:
            server.drop(database)
    return Worlds(tables, start, *(worlds[name] for name, _ in runs))


def truth(worlds: Worlds, fault: Fault | None, *, complete: bool) -> tuple[TrueCell, ...]:
    """Every damaged cell with its target, and whether the evidence can tell it. Without a fault
    there is no damage, and two worlds that differ all the same are a broken history."""
    step, table = (fault.step, fault.table) if fault else ("", "")
    cells = damage(worlds.tables, worlds.intended, worlds.actual, step, table)
    if fault is None:
        assert not cells, "two worlds without a fault differ"
        return ()
    shape = {one.name: one for one in worlds.tables}
    return tuple(
        TrueCell(cell, complete or _restorable(worlds, shape[cell.table], cell)) for cell in cells
    )


def dump(server: Server, database: str, target: Path, *options: str) -> None:
    """A plain dump, the same bytes for the same database."""
    program = server.binaries / "pg_dump"
    command = [str(program), "--no-owner", "--no-privileges", "--restrict-key=webshop", *options]
    command += ["--file", str(target), "--dbname", server.conninfo(database)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pg_dump of {database}: {done.stderr}")


def truth_text(fault: Fault | None, cells: Iterable[TrueCell]) -> str:
    """truth.json: the fault, and one line per damaged cell."""
    head = {
        "dbmend": "truth/1",
        "verdict": "damaged" if fault else "clean",
        "fault": {"step": fault.step, "class": fault.fault_class} if fault else None,
    }
    lines = ",\n  ".join(
        json.dumps(
            {
                "table": true.cell.table,
                "key": true.cell.key,
                "column": true.cell.column,
                "target": true.cell.target,
                "label": true.cell.label,
                "restorable": true.restorable,
            },
            ensure_ascii=False,
        )
        for true in cells
    )
    return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "cells": [\n  {lines}\n]}}\n'


def steps_text(
    entries: Iterable[Entry], *, describes: str, covers: str, timezone: str = "Europe/Moscow"
) -> str:
    """steps.yaml of the logged entries. `describes` is 'intended' or 'executed'."""
    logged = [entry for entry in entries if entry.logged]
    lines = [
        "dbmend: steps/1",
        f"timezone: {timezone}",
        f"describes: {describes}",
        f"covers: {covers}",
        "steps:" if logged else "steps: []",
    ]
    for entry in logged:
        lines.append(f"  - id: {json.dumps(entry.id)}")
        lines.append(f"    at: {entry.at.isoformat()}")
        lines.append(f"    actor: {json.dumps(entry.actor, ensure_ascii=False)}")
        lines.append(f"    what: {json.dumps(entry.what, ensure_ascii=False)}")
        text = entry.intended if describes == "intended" else entry.executed
        if text:
            lines.append("    sql: |-")
            lines += [f"      {line}" for line in text.split("\n")]
        if entry.event:
            lines.append(f"    event: {entry.event}")
        if entry.suspect:
            lines.append("    suspect: true")
    return "\n".join(lines) + "\n"


def _intended(entry: Entry) -> str:
    return entry.intended


def _executed(entry: Entry) -> str:
    return entry.executed


def _restorable(worlds: Worlds, shape: TableShape, cell: DamagedCell) -> bool:
    with_fault = _value(shape, worlds.logged_actual, cell)
    without = _value(shape, worlds.logged_intended, cell)
    return with_fault == _value(shape, worlds.actual, cell) and without == _value(
        shape, worlds.intended, cell
    )


def _value(shape: TableShape, world: World, cell: DamagedCell) -> str | None:
    row = world.state[shape.name].get(cell.key)
    if not cell.column:
        return None if row is None else compact(dict(zip(shape.columns, row, strict=True)))
    return "no row" if row is None else row[shape.columns.index(cell.column)]
