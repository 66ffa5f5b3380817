"""What people do by hand, scored as tools are. Each is given more than a tool has: the replay of
the log is free, and where one has to know the faulty step or its time, it knows them."""

from collections.abc import Callable

from benchmarks.generator import Case
from benchmarks.score import Repair, compared
from recovery.demo.twin import Row, State


def baselines(case: Case) -> dict[str, Repair]:
    """The figures of each baseline that can be had for this case."""
    found: dict[str, Repair] = {}
    for name, repair in _BASELINES.items():
        after = repair(case)
        if after is not None:
            found[name] = compared(case, case.worlds.actual.state, after)
    return found


def _all_from_backup(case: Case) -> State | None:
    return case.worlds.start


def _replay_only(case: Case) -> State | None:
    """The backup with the log run on it."""
    return _replayed(case)


def _merge(case: Case) -> State | None:
    """Cell by cell: who alone left the backup's value wins; where both did, the current stays."""
    replayed = _replayed(case)
    if replayed is None:
        return None
    current = case.worlds.actual.state
    merged: State = {}
    for shape in case.worlds.tables:
        start, now, then = (state[shape.name] for state in (case.worlds.start, current, replayed))
        rows: dict[str, Row] = {}
        for key in start.keys() | now.keys() | then.keys():
            row = _merged(start.get(key), now.get(key), then.get(key))
            if row is not None:
                rows[key] = row
        merged[shape.name] = rows
    return merged


def _merged(start: Row | None, now: Row | None, then: Row | None) -> Row | None:
    if start is None or now is None or then is None:
        return then if now == start else now
    cells = zip(start, now, then, strict=True)
    return tuple(new if held == old else held for old, held, new in cells)


def _undo(case: Case) -> State | None:
    """Put the faulty step's row images back, where nobody has written since."""
    around = case.worlds.actual.around
    steps = [one.id for one in case.history.happenings if one.fault and one.id in around]
    if not steps:
        return None
    state = {name: dict(rows) for name, rows in case.worlds.actual.state.items()}
    for step in reversed(steps):
        before, after = around[step]
        for shape in case.worlds.tables:
            rows = state[shape.name]
            for key in before[shape.name].keys() | after[shape.name].keys():
                old, new = before[shape.name].get(key), after[shape.name].get(key)
                if old != new:
                    _put_back(rows, key, old, new)
    return state


def _put_back(rows: dict[str, Row], key: str, old: Row | None, new: Row | None) -> None:
    now = rows.get(key)
    if old is not None and new is not None and now is not None:
        cells = zip(old, new, now, strict=True)
        rows[key] = tuple(a if a != b and held == b else held for a, b, held in cells)
    elif now == new:
        if old is None:
            rows.pop(key, None)
        else:
            rows[key] = old


def _before_the_fault(case: Case) -> State | None:
    around = case.worlds.actual.around
    steps = [one.id for one in case.history.happenings if one.fault and one.id in around]
    return around[steps[0]][0] if steps else None


def _told(case: Case) -> State | None:
    """The backup with the log run on it, the faulty step known and put right: what a replay of all
    steps leaves, and a replay of the dependent ones as well."""
    if not case.faults:
        return None
    return (case.worlds.logged_intended or case.worlds.intended).state


def _replayed(case: Case) -> State | None:
    if case.log.describes == "executed":
        return None
    world = case.worlds.logged_intended or case.worlds.intended
    return world.state


_BASELINES: dict[str, Callable[[Case], State | None]] = {
    "all differences from the backup": _all_from_backup,
    "replay of the log alone": _replay_only,
    "full or dependency replay, told the step": _told,
    "three-way merge of cells": _merge,
    "row images of the faulty step": _undo,
    "point in time before the fault": _before_the_fault,
}
