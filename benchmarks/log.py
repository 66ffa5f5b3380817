"""The step log that is handed over: derived from what was meant or from what ran, then made worse.

Levels: G0 exact; G1 5 % of the steps dropped; G2 10 % dropped, 5 % of the neighbours in each
other's place, times known to some minutes only; G3 20 % dropped, 10 % swapped, 10 % told in words
("about 300 rows"), 5 % told twice, 5 % that never happened; G4 nothing but words. The fault's own
step is never dropped: a log without it is the class `unlogged`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from benchmarks.history import Happening, History, Plan
from benchmarks.lives import World
from recovery.demo.twin import DamagedCell

MODES = ("intended", "executed", "mixed", "unknown")
_EXECUTED_SHARE = 0.3  # of the steps of a mixed log
_REPORTS_SHARE = 0.3  # of the logs have the row counts that the client program reported
_WRONG_SHARE = 0.1  # of the complaints
_FINE_CELLS = 5
_TABLE = re.compile(r"(?:UPDATE|INSERT INTO|DELETE FROM|TRUNCATE|TABLE)\s+(\"?[\w.]+\"?)", re.I)


@dataclass(frozen=True, slots=True)
class Level:
    dropped: float = 0.0
    swapped: float = 0.0
    words: float = 0.0
    twice: float = 0.0
    untrue: float = 0.0
    about: bool = False  # times are intervals


LEVELS = {
    "G0": Level(),
    "G1": Level(dropped=0.05),
    "G2": Level(dropped=0.1, swapped=0.05, about=True),
    "G3": Level(dropped=0.2, swapped=0.1, words=0.1, twice=0.05, untrue=0.05, about=True),
    "G4": Level(words=1.0),
}


@dataclass(frozen=True, slots=True)
class LogStep:
    """One line of the log. `text` '' is prose. `origin` is the happening it tells of, '' for one
    that never happened; `told`: its text is what was meant."""

    id: str
    at: datetime
    until: datetime | None
    actor: str
    what: str
    text: str
    origin: str
    slot: int
    told: bool
    suspect: bool = False
    event: str = ""
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Complaint:
    table: str
    key: str  # compact JSON
    column: str
    should_be: str | None = None
    has_value: bool = False
    fine: bool = False
    row_missing: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    steps: tuple[LogStep, ...]
    describes: str
    complete: bool
    complaints: tuple[Complaint, ...] = ()


def derive(plan: Plan, history: History, actual: World) -> Log:
    """The log of a case, without complaints."""
    random = Random(f"log {plan.name}")
    as_described = plan.fault_class == "as-described"
    mode = "executed" if as_described and plan.mode == "intended" else plan.mode
    ordered = sorted(
        (one for one in history.happenings if one.logged),
        key=lambda one: one.ran_place if mode == "executed" else one.place,
    )
    if mode == "executed":
        ordered = [one for one in ordered if one.executed or one.event or not one.fault]
    steps = [_told(one, mode, actual, random) for one in ordered]
    if Random(f"rows {plan.name}").random() < _REPORTS_SHARE:
        steps = [replace(one, rows=_rows(one, actual)) for one in steps]
    steps = [one for one in steps if one.text or one.what]
    guilty = {one.id for one in history.happenings if one.fault}
    worse = _worse(steps, LEVELS[plan.level], guilty, history, actual, random)
    describes = {"mixed": "unknown"}.get(mode, mode)
    return Log(tuple(worse), describes, plan.complete)


def _told(one: Happening, mode: str, actual: World, random: Random) -> LogStep:
    """What a log of this mode says of a happening. An application's constants are those that it
    wrote, whatever was meant."""
    ran = actual.texts.get(one.id, one.executed)
    if not one.fault:
        text, told = (ran if "[[" in one.intended else one.intended), True
    elif mode == "executed" or (mode == "mixed" and random.random() < _EXECUTED_SHARE):
        text, told = ran, one.suspect
    else:
        text, told = one.intended, bool(one.intended) or one.suspect
    what = one.what if text or one.what else ""
    return LogStep(
        one.id, one.at, None, one.actor, what, text, one.id, one.slot, told,
        one.suspect, one.event,
    )  # fmt: skip


def _rows(step: LogStep, actual: World) -> int | None:
    return actual.rows.get(step.origin) if step.text else None


def _worse(
    steps: Sequence[LogStep], level: Level, guilty: set[str], history: History, actual: World,
    random: Random,
) -> list[LogStep]:  # fmt: skip
    kept = [one for one in steps if one.origin in guilty or random.random() >= level.dropped]
    at = 0
    while at + 1 < len(kept):
        if random.random() < level.swapped:
            first, second = kept[at], kept[at + 1]
            kept[at], kept[at + 1] = replace(second, at=first.at), replace(first, at=second.at)
            at += 1
        at += 1
    slot = max((one.slot for one in history.happenings), default=0)
    told: list[LogStep] = []
    for step in kept:
        in_words = random.random() < level.words
        told.append(_in_words(step, actual) if in_words and step.text else step)
        if step.origin not in guilty and random.random() < level.twice:
            slot += 1
            told.append(replace(step, id=f"{step.id}-bis", slot=slot))
        if history.untrue and random.random() < level.untrue:
            slot += 1
            told.append(
                replace(
                    step, id=f"{step.id}-other", what="Another one", origin="", slot=slot,
                    text=random.choice(history.untrue), suspect=False, event="", rows=None,
                )
            )  # fmt: skip
    if level.about:
        told = [
            replace(one, at=one.at - timedelta(minutes=2), until=one.at + timedelta(minutes=2))
            for one in told
        ]
    return told


def _in_words(step: LogStep, actual: World) -> LogStep:
    found = _TABLE.search(step.text)
    table = found[1].strip('"') if found else "the data"
    count = actual.rows.get(step.origin, 0)
    about = f"about {round(count, -1) or 10} rows of" if count > 1 else "something in"
    verb = {"I": "Added", "D": "Deleted"}.get(step.text[:1].upper(), "Changed")
    return replace(step, text="", what=f"{verb} {about} {table}", rows=None, told=False)


def complain(
    plan: Plan, damaged: Sequence[DamagedCell], fine: Sequence[tuple[str, str, str]],
    backup: dict[tuple[str, str, str], str | None],
) -> tuple[Complaint, ...]:  # fmt: skip
    """Complaints as the plan asks: a number, `v` with right values, `f` with cells that are fine.
    `fine` are cells that are right, changed ones first; one complaint in ten is wrong."""
    words = re.fullmatch(r"(\d+)(v?)(f?)", plan.complaints)
    if words is None:
        raise ValueError(f"complaints: {plan.complaints}")
    random = Random(f"complaints {plan.name}")
    can = [cell for cell in damaged if cell.column or cell.target is not None]
    chosen = random.sample(can, min(int(words[1]), len(can)))
    made = [_complaint(cell, values=bool(words[2])) for cell in chosen]
    right = list(fine)
    random.shuffle(right)
    for at in range(len(made)):
        if right and random.random() < _WRONG_SHARE:
            table, key, column = right.pop()
            should = backup.get((table, key, column))
            has = bool(words[2]) and (table, key, column) in backup
            made[at] = Complaint(table, key, column, should if has else None, has)
    if words[3]:
        made += [Complaint(*cell, fine=True) for cell in right[:_FINE_CELLS]]
    return tuple(made)


def _complaint(cell: DamagedCell, *, values: bool) -> Complaint:
    if not cell.column:
        return Complaint(cell.table, cell.key, "", row_missing=True)
    return Complaint(cell.table, cell.key, cell.column, cell.target if values else None, values)


def log_text(log: Log) -> str:
    """steps.yaml."""
    covers = "complete" if log.complete else "partial"
    lines = ["dbmend: steps/1", "timezone: UTC", f"describes: {log.describes}", f"covers: {covers}"]
    lines.append("steps:" if log.steps else "steps: []")
    for step in log.steps:
        lines += _step_lines(step)
    if log.complaints:
        lines.append("complaints:")
        lines += [f"  - {json.dumps(_fields(one), ensure_ascii=False)}" for one in log.complaints]
    return "\n".join(lines) + "\n"


def _step_lines(step: LogStep) -> list[str]:
    lines = [f"  - id: {json.dumps(step.id)}"]
    if step.until is None:
        lines.append(f"    at: {step.at.isoformat()}")
    else:
        lines.append(f"    at: {{from: {step.at.isoformat()}, to: {step.until.isoformat()}}}")
    lines.append(f"    actor: {json.dumps(step.actor, ensure_ascii=False)}")
    lines.append(f"    what: {json.dumps(step.what, ensure_ascii=False)}")
    if step.text:
        lines.append("    sql: |-")
        lines += [f"      {line}" for line in step.text.split("\n")]
    if step.event:
        lines.append(f"    event: {step.event}")
    if step.rows is not None:
        lines.append(f"    rows: {step.rows}")
    if step.suspect:
        lines.append("    suspect: true")
    return lines


def _fields(one: Complaint) -> dict[str, object]:
    fields: dict[str, object] = {"table": one.table, "key": json.loads(one.key)}
    if one.column:
        fields["column"] = one.column
    if one.has_value:
        fields["should_be"] = one.should_be
    if one.row_missing:
        fields["row"] = "missing"
    if one.fine:
        fields["fine"] = True
    return fields
