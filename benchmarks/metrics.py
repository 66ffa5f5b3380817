"""What a tool said, beside the truth: did it name the faults, with which probability, which cells
did it call damaged and how, and how deep did it promise to restore."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from benchmarks.generator import Case
from benchmarks.history import Fault
from recovery.demo.twin import compact

SAFE = ("proven", "consistent")
LABELS = ("lost-work", "direct", "cascade", "collateral", "omission", "storage")
_NO_STEP = frozenset({"unlogged", "storage", "sequence-behind", "outside"})
_CONFIDENT = 0.5


@dataclass(frozen=True, slots=True)
class Named:
    """One fault of the truth in what the tool listed. `rank` counts wrong ones listed before it, 1
    is first and 0 not at all; `covered`: step and class are in the list. `parameters`: whether what
    it says was done there is right, see parameters.py; '' where step and class are not named."""

    fault_class: str
    rank: int
    class_right: bool
    covered: bool
    outside: bool
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Damaged cells of one label: said, true, both."""

    said: int = 0
    true: int = 0
    both: int = 0


@dataclass(frozen=True, slots=True)
class Measures:
    """One case's answers. `stated`: (probability, whether it is right) of every listed fault;
    `classes`: what each of them is called."""

    verdict: str = "none"
    named: tuple[Named, ...] = ()
    listed: int = 0
    stated: tuple[tuple[float, bool], ...] = ()
    none_of_these: float = 0.0
    confident_wrong: bool = False  # a fault that is not true, with a probability of a half or more
    cells: Mapping[str, Counts] = field(default_factory=dict)  # by label; '' for any label
    promised: float = 1.0  # share of the damage that is said to be restorable exactly
    safe: int = 0
    wrong_safe: int = 0
    wrong_cells: tuple[str, ...] = ()  # some of them, for people
    classes: tuple[str, ...] = ()


def listed_faults(assessment: Mapping[str, object]) -> list[dict[str, object]]:
    found = assessment.get("faults")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def measure(assessment: Mapping[str, object], damage: Path, case: Case, mode: str) -> Measures:
    listed = listed_faults(assessment)
    faults = case.faults
    stated = [
        (
            float(str(one.get("probability", 0.0))),
            any(is_named(one, fault, mode) for fault in faults),
        )
        for one in listed
    ]
    rows = _rows(damage)
    wrong = [row for row in rows if row.grade in SAFE and not _is_true(case, row)]
    safe = sum(row.grade in SAFE for row in rows)
    return Measures(
        verdict=str(assessment.get("verdict", "none")),
        named=tuple(_named(fault, faults, listed, mode) for fault in faults),
        listed=len(listed),
        stated=tuple(stated),
        none_of_these=float(str(assessment.get("none_of_these", 0.0))),
        confident_wrong=any(p >= _CONFIDENT and not right for p, right in stated),
        cells=_counts(rows, case),
        promised=safe / len(rows) if rows else 1.0,
        safe=safe,
        wrong_safe=len(wrong),
        wrong_cells=tuple(_told(case, row) for row in wrong[:8]),
        classes=tuple(str(one.get("class", "")) for one in listed),
    )


def _named(
    fault: Fault, faults: Sequence[Fault], listed: Sequence[Mapping[str, object]], mode: str
) -> Named:
    rank = wrong = 0
    class_right = covered = False
    for one in listed:
        if _step(one, fault):
            if not rank:
                rank, class_right = wrong + 1, _class(one, fault, mode)
            covered = covered or _class(one, fault, mode)
        elif not any(_step(one, other) for other in faults):
            wrong += 1
    return Named(fault.fault_class, rank, class_right, covered, fault.strike.outside)


def is_named(one: Mapping[str, object], fault: Fault, mode: str) -> bool:
    """Whether a listed fault names the true one, step and class."""
    return _step(one, fault) and _class(one, fault, mode)


def _step(one: Mapping[str, object], fault: Fault) -> bool:
    """The step is named, or, where the log has no step for it, the class."""
    if fault.steps and str(one.get("step")) in fault.steps:
        return True
    nameless = fault.fault_class in _NO_STEP or not fault.steps
    return nameless and one.get("class") == fault.fault_class


def _class(one: Mapping[str, object], fault: Fault, mode: str) -> bool:
    """A log of what was executed cannot tell more than that the step was the mistake."""
    said = one.get("class")
    if mode in ("executed", "mixed") and said == "as-described":
        return True
    return said == fault.fault_class


@dataclass(frozen=True, slots=True)
class _Row:
    table: str
    key: str
    column: str
    label: str
    target: str | None
    grade: str


def _rows(parquet: Path) -> list[_Row]:
    if not parquet.exists():
        return []
    query = 'SELECT "table", key, "column", label, target, grade FROM read_parquet(?)'
    return [_Row(*row) for row in duckdb.execute(query, [str(parquet)]).fetchall()]


def _counts(rows: Sequence[_Row], case: Case) -> dict[str, Counts]:
    """By label. A row said to be damaged as a whole and one named cell by cell are not the same."""
    said = {(row.table, row.key, row.column): row.label for row in rows}
    true = {(one.cell.table, one.cell.key, one.cell.column): one.cell.label for one in case.cells}
    counts = {"": Counts(len(said), len(true), len(said.keys() & true.keys()))}
    for label in LABELS:
        mine = {cell for cell, one in said.items() if one == label}
        right = {cell for cell, one in true.items() if one == label}
        counts[label] = Counts(len(mine), len(right), len(mine & right))
    return counts


def _is_true(case: Case, said: _Row) -> bool:
    shape = next((one for one in case.worlds.tables if one.name == said.table), None)
    if shape is None:
        return False
    row = case.worlds.intended.state[said.table].get(said.key)
    if row is None:
        return not said.column and said.target is None
    if not said.column:
        whole = compact(dict(zip(shape.columns, row, strict=True)))
        return said.target is not None and json.loads(said.target) == json.loads(whole)
    return row[shape.columns.index(said.column)] == said.target


def _told(case: Case, said: _Row) -> str:
    shape = next((one for one in case.worlds.tables if one.name == said.table), None)
    right: object = "?"
    if shape is not None:
        row = case.worlds.intended.state[said.table].get(said.key)
        right = row
        if row is not None and said.column in shape.columns:
            right = row[shape.columns.index(said.column)]
    place = f"{said.table} {said.key} {said.column}"
    return f"{place}: {said.grade} {said.label} {said.target!r}, true {right!r}"
