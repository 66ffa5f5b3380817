"""What is true of a case: the worlds, the damaged cells, their labels, which of them the evidence
can tell, and whether the fault itself can be told from others. README.md has the definitions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg

from benchmarks.history import Fault, Happening, History, Plan, happened, meant
from benchmarks.lives import Act, World, live, read_as
from benchmarks.log import Log
from benchmarks.probes import probes, with_probe
from recovery.demo.bundle import Server, TrueCell
from recovery.demo.twin import (
    Connection,
    DamagedCell,
    State,
    TableShape,
    compact,
    differences,
    prepare,
    read_state,
    shapes,
)

Cell = tuple[str, str, str]
_ROWS_MIN = 3  # fewer damaged rows could as well be so many undocumented edits
_PREFIX = "case"


@dataclass(frozen=True, slots=True)
class Worlds:
    """The lives of one history, and the tables they have. `probed` are lives in which undocumented
    work came just before the fault, as pairs of meant and happened. The logged ones are None where
    they are the same as the others."""

    tables: tuple[TableShape, ...]
    start: State
    intended: World
    actual: World
    logged_intended: World | None = None
    logged_actual: World | None = None
    probed: tuple[tuple[World, World], ...] = ()
    counters: tuple[tuple[str, str, int], ...] = ()  # table, column, the number in the backup


@dataclass(frozen=True, slots=True)
class Truth:
    """`masked`: faults none of whose writes can be seen in the end. `ambiguous`: another single
    deviation leaves the very same data: 'yes', 'no' or 'unknown' (not looked for)."""

    cells: tuple[TrueCell, ...]
    masked: frozenset[str] = frozenset()
    masked_cells: int = 0
    ambiguous: str = "unknown"
    equivalents: tuple[str, ...] = ()
    fault_of: tuple[tuple[Cell, str], ...] = ()


def live_both(
    server: Server, plan: Plan, history: History, *, checked: bool
) -> tuple[History, Worlds]:
    """The world as meant and the world as it happened, on copies of `case_backup`; the databases
    stay. Good work that fails in the world as meant never was: it is taken out."""
    with server.connect(f"{_PREFIX}_backup") as connection:
        prepare(connection)
        tables = shapes(connection)
        start = read_state(connection, tables)
        counters = _counters(connection)
    intended = _lived(server, "intended", meant(history.happenings), start, checked=checked)
    for fault in history.happenings:
        if fault.id in intended.failed and (fault.fault or fault.id.startswith("fault")):
            raise RuntimeError(f"{plan.name}: {fault.id}: {intended.failed[fault.id]}")
    kept = tuple(one for one in history.happenings if one.id not in intended.failed)
    history = replace(history, happenings=kept)
    guilty = frozenset(one.id for one in kept if one.fault)
    actual = _lived(server, "actual", happened(kept), start, checked=checked, look_at=guilty)
    for step in guilty & actual.failed.keys():
        raise RuntimeError(f"{plan.name}: {step}: {actual.failed[step]}")
    return history, Worlds(tables, start, intended, actual, counters=counters)


def live_more(server: Server, plan: Plan, history: History, worlds: Worlds, log: Log) -> Worlds:
    """The worlds that tell what is restorable."""
    if not history.faults:
        return worlds
    right, wrong = logged_acts(history, log)
    if plan.complete and _same(right, meant(history.happenings), worlds.intended):
        return worlds
    logged_intended = _tried(server, right, worlds.start)
    logged_actual = _tried(server, wrong, worlds.start)
    probed = []
    for texts in (
        []
        if plan.complete
        else probes(history, worlds.tables, worlds.intended.state, worlds.actual.state)
    ):
        pair = []
        for acts in (meant(history.happenings), happened(history.happenings)):
            pair.append(_tried(server, with_probe(history, acts, texts), worlds.start))
        probed.append((pair[0], pair[1]))
    return replace(
        worlds, logged_intended=logged_intended, logged_actual=logged_actual, probed=tuple(probed)
    )


def logged_acts(history: History, log: Log) -> tuple[list[Act], list[Act]]:
    """What the log alone accounts for: as meant, and with what the fault really did."""
    of = {one.id: one for one in history.happenings}
    right, wrong = [], []
    for number, step in enumerate(log.steps):
        origin = of.get(step.origin)
        if origin is not None and origin.fault:
            right += [Act(step.id, origin.at, origin.intended, step.slot)] if step.text else []
            continue
        act = Act(step.id, origin.at if origin else step.at, step.text, step.slot)
        right += [act] if step.text else []
        wrong += [(origin.place if origin else 0.0, number, act)] if step.text else []
    ordered = _in_log_order(wrong)
    for one in history.happenings:
        if one.fault and one.executed:
            ordered.append((one.ran_place, Act(one.id, one.at, one.executed, one.slot)))
    ordered.sort(key=lambda pair: pair[0])
    return [act for act in right if act.text], [act for _, act in ordered]


def _in_log_order(wrong: Sequence[tuple[float, int, Act]]) -> list[tuple[float, Act]]:
    """Places that rise in the order of the log, swapped neighbours and all."""
    places = sorted(place for place, _, _ in wrong)
    return [(place, act) for place, (_, _, act) in zip(places, wrong, strict=True)]


def _counters(connection: Connection) -> tuple[tuple[str, str, int], ...]:
    """Columns that sequences feed, and where these stand."""
    rows = connection.execute(
        """SELECT n.nspname || '.' || c.relname, a.attname::text, coalesce(s.last_value, 0)
        FROM pg_sequences s
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
             AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass
             AND d.objid = format('%I.%I', s.schemaname, s.sequencename)::regclass
        JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid ORDER BY 1, 2"""
    ).fetchall()
    return tuple((str(table), str(column), int(str(number))) for table, column, number in rows)


def read_actual(server: Server, worlds: Worlds) -> State:
    with server.connect(f"{_PREFIX}_actual") as connection:
        prepare(connection)
        return read_as(connection, worlds.tables)


def find_truth(plan: Plan, history: History, worlds: Worlds, log: Log) -> Truth:
    """Every damaged cell with its target, label and whether it is restorable."""
    stored = worlds.actual.around.get("storage")
    judge = _Judge(plan, history, worlds, log)
    cells, owners = [], []
    for shape in worlds.tables:
        good, bad = worlds.intended.state[shape.name], worlds.actual.state[shape.name]
        for key in sorted(good.keys() | bad.keys()):
            for column, target in differences(shape, good.get(key), bad.get(key)):
                cell = (shape.name, key, column)
                in_storage = stored is not None and _value(shape, stored[0], cell) != _value(
                    shape, stored[1], cell
                )
                label, owner = judge.label(cell, in_storage=in_storage)
                owners.append((cell, owner))
                writers = tuple(worlds.actual.writers.get(cell, ()))
                cells.append(DamagedCell(*cell, target, label, writers))
    if not history.faults:
        assert not cells, "two worlds without a fault differ"
    rows = len({(cell.table, cell.key) for cell in cells})
    true = tuple(
        TrueCell(cell, judge.restorable(cell, owner, rows))
        for cell, (_, owner) in zip(cells, owners, strict=True)
    )
    seen = {owner for _, owner in owners}
    masked = frozenset(
        fault.id
        for fault in history.faults
        if fault.id not in seen and fault.fault_class != "sequence-behind"
    )
    damaged = {cell for cell, _ in owners}
    hidden = sum(
        1
        for cell, steps in worlds.actual.writers.items()
        if cell not in damaged and any(judge.fault_of.get(step) for step in steps)
    )
    return Truth(true, masked, hidden, fault_of=tuple(owners))


class _Judge:
    """Labels and restorability, cell by cell."""

    def __init__(self, plan: Plan, history: History, worlds: Worlds, log: Log) -> None:
        self.plan = plan
        self.worlds = worlds
        self.shape = {shape.name: shape for shape in worlds.tables}
        self.faults = {fault.id: fault for fault in history.faults}
        self.fault_of = {one.id: one.fault for one in history.happenings if one.fault}
        self.ran = {one.id: one.ran_place for one in history.happenings}
        self.told = {fault.id: _is_told(fault, history.happenings, log) for fault in history.faults}

    def label(self, cell: Cell, *, in_storage: bool) -> tuple[str, str]:
        """The first label that fits, and the fault it is laid to."""
        if in_storage:
            return "storage", next(f.id for f in self.faults.values() if f.strike.storage)
        writers = self.worlds.actual.writers.get(cell, [])
        intended = self.worlds.intended.writers.get(cell, [])
        guilty = [step for step in writers if step in self.fault_of]
        if guilty:
            fault = self.faults[self.fault_of[guilty[0]]]
            before = writers[: writers.index(guilty[0])]
            if any(step not in self.fault_of for step in before) and intended:
                return "lost-work", fault.id
            gone = not cell[2] and cell[1] not in self.worlds.actual.state[cell[0]]
            if gone and self._edited(cell, guilty[0]):
                return "lost-work", fault.id
            direct = cell[0] in fault.strike.tables
            return ("direct" if direct else "cascade"), fault.id
        first = min(self.faults.values(), key=lambda one: one.place)
        meant_by = [self.fault_of[step] for step in intended if step in self.fault_of]
        owner = self.faults[meant_by[0]] if meant_by else first
        later = any(self.ran.get(step, 0.0) > owner.place for step in writers)
        return ("collateral" if later else "omission"), owner.id

    def _edited(self, cell: Cell, guilty: str) -> bool:
        """Whether good work had written in the row that the fault took away."""
        shape = self.shape[cell[0]]
        for column in shape.columns:
            steps = self.worlds.actual.writers.get((cell[0], cell[1], column), [])
            if guilty in steps and any(
                s not in self.fault_of for s in steps[: steps.index(guilty)]
            ):
                return True
        return False

    def restorable(self, cell: DamagedCell, owner: str, rows: int) -> bool:
        fault = self.faults[owner]
        if not all(self.told.values()) and not (self.plan.complete and self._nothing_else()):
            return False
        at = (cell.table, cell.key, cell.column)
        if not self._accounted_for(at, fault) or self._numbered(at):
            return False
        if self.plan.complete:
            return True
        if fault.strike.storage or (rows < _ROWS_MIN and fault.fault_class != "as-described"):
            return False
        return not self._blind(at, fault)

    def _nothing_else(self) -> bool:
        """With a complete log, what it does not tell did not happen: the target is what is told.
        But what was meant must be told."""
        return self.plan.mode in ("intended", "unknown") or all(
            fault.fault_class in ("as-described", "unlogged", "storage")
            for fault in self.faults.values()
        )

    def _accounted_for(self, cell: Cell, fault: Fault) -> bool:
        shape, worlds = self.shape[cell[0]], self.worlds
        if worlds.logged_intended is None or worlds.logged_actual is None:
            return True
        right = _value(shape, worlds.logged_intended.state, cell)
        if right != _value(shape, worlds.intended.state, cell):
            return False
        if fault.strike.storage:
            return True
        wrong = _value(shape, worlds.logged_actual.state, cell)
        return wrong == _value(shape, worlds.actual.state, cell)

    def _numbered(self, cell: Cell) -> bool:
        """Whether it is a row that is gone, or never came, under a number that a sequence gave:
        sequences skip numbers, and nothing that is left says how many."""
        shape, (table, key, column) = self.shape[cell[0]], cell
        if column or key in self.worlds.actual.state[table] or key in self.worlds.start[table]:
            return False
        row = self.worlds.intended.state[table].get(key)
        return row is not None and any(
            int(row[shape.columns.index(name)] or 0) > number
            for of, name, number in self.worlds.counters
            if of == table
        )

    def _blind(self, cell: Cell, fault: Fault) -> bool:
        """Whether other undocumented work just before the fault leaves the same value and another
        target."""
        shape = self.shape[cell[0]]
        if fault.strike.audited and fault.strike.kind != "delete":
            return (cell[0], cell[2]) in self.plan.suite.touched
        now = _value(shape, self.worlds.actual.state, cell)
        target = _value(shape, self.worlds.intended.state, cell)
        gone = not cell[2] and now is None
        for right, wrong in self.worlds.probed:
            same = _value(shape, wrong.state, cell) == now
            if same and _value(shape, right.state, cell) != target:
                return True
        return gone and not cell[2] and not self.worlds.probed


def _is_told(fault: Fault, happenings: Sequence[Happening], log: Log) -> bool:
    """Whether the log says what should have been, of every part of the fault."""
    lines = {step.origin: step for step in log.steps}
    for one in happenings:
        if one.fault != fault.id:
            continue
        line = lines.get(one.id)
        if line is None or not line.told:
            return False
    return True


def _value(shape: TableShape, state: State, cell: Cell) -> str | None:
    row = state[shape.name].get(cell[1])
    if not cell[2]:
        return None if row is None else compact(dict(zip(shape.columns, row, strict=True)))
    return "no row" if row is None else row[shape.columns.index(cell[2])]


def _same(acts: Sequence[Act], others: Sequence[Act], world: World) -> bool:
    """Whether the log tells the world as meant, applications' constants and all."""
    told = [(act.id, act.text) for act in acts]
    return told == [(act.id, world.texts.get(act.id, act.text)) for act in others]


def _lived(
    server: Server, name: str, acts: Sequence[Act], start: State, *, checked: bool,
    look_at: frozenset[str] = frozenset(), watched: bool = True,
) -> World:  # fmt: skip
    database = f"{_PREFIX}_{name}"
    server.drop(database)
    server.clone(f"{_PREFIX}_backup", database)
    with server.connect(database) as connection:
        return live(
            connection, acts, start, may_fail=True, look_at=look_at, checked=checked,
            watched=watched,
        )  # fmt: skip


def _tried(server: Server, acts: Sequence[Act], start: State) -> World:
    """A life of which only the end counts."""
    world = _lived(server, "tried", acts, start, checked=False, watched=False)
    server.drop(f"{_PREFIX}_tried")
    return world


# --- other single deviations that leave the same data --------------------------------------------

_RUNS_MAX = 40
_WHERE = re.compile(r"\sWHERE\s(?!.*\sWHERE\s).*$", re.S | re.I)


def look_for_equivalents(server: Server, history: History, worlds: Worlds, truth: Truth) -> Truth:
    """Try every single deletion, repetition and lost WHERE of the steps that wrote damaged tables;
    'unknown' where there are too many to try, or several faults."""
    if len(history.faults) != 1 or not truth.cells or history.faults[0].strike.storage:
        return truth
    fault = history.faults[0]
    tables = {true.cell.table for true in truth.cells}
    steps = {
        step
        for (table, _, _), writers in worlds.intended.writers.items()
        if table in tables
        for step in writers
    }
    acts = meant(history.happenings)
    tries = [
        (name, edited)
        for act in acts
        if act.id in steps and act.id != fault.step
        for name, edited in _single_edits(acts, act)
    ]
    if len(tries) > _RUNS_MAX:
        return truth
    found = []
    for name, edited in tries:
        try:
            if _tried(server, edited, worlds.start).state == worlds.actual.state:
                found.append(name)
        except psycopg.Error:
            continue
    return replace(truth, ambiguous="yes" if found else "no", equivalents=tuple(found))


def _single_edits(acts: Sequence[Act], act: Act) -> list[tuple[str, list[Act]]]:
    at = acts.index(act)
    edits = [
        (f"skipped {act.id}", [*acts[:at], *acts[at + 1 :]]),
        (f"repeated {act.id}", [*acts[: at + 1], replace(act, id=f"{act.id}-2"), *acts[at + 1 :]]),
    ]
    without = _WHERE.sub("", act.text)
    if without != act.text and ";" not in act.text:
        edits.append((f"missing-where {act.id}", [*acts[:at], replace(act, text=without),
                                                  *acts[at + 1 :]]))  # fmt: skip
    return edits
