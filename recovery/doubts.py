"""Is this evidence what it is said to be? Warnings that every output repeats, and the refusal to
compare two different databases."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from diffing.model import Ledger, Schema, Status
from recovery.case.files import sha256
from recovery.case.folder import CaseFolder
from recovery.case.world import Inputs
from recovery.messages import message
from recovery.model import (
    EngineError,
    Evidence,
    Exit,
    Group,
    Import,
    Problem,
    Restore,
    Role,
    Step,
    StepLog,
)
from recovery.sources.detect import open_source
from recovery.sources.model import SourceInfo
from recovery.steps.read import Reading, examine, usable

_SAME_TABLES_SHARE = 0.5
# Names of errors that say nothing about the table: the server went away, the disk is full.
_TROUBLE = frozenset(
    {
        "OperationalError",
        "AdminShutdown",
        "CrashShutdown",
        "CannotConnectNow",
        "ConnectionFailure",
        "ConnectionTimeout",
        "DiskFull",
        "IOException",
        "OSError",
    }
)


def require_usable(inputs: Inputs, checks: Sequence[Callable[[], None]]) -> None:
    """Every input is read once, whole. All faults at once, with those that `checks` raise; then
    whether the two states are of one database. Raises EngineError."""
    problems: list[Problem] = []
    refusals: list[EngineError] = []
    for check in checks:
        with _kept(refusals):
            check()
    for path in (inputs.backup, inputs.current, *inputs.others):
        with _kept(refusals):
            problems += open_source(path).problems()
    if inputs.steps is not None:
        with _kept(refusals):
            usable(examined(inputs.steps), inputs.steps)
    _refuse(refusals, problems)
    base, current = (open_source(path).info for path in (inputs.backup, inputs.current))
    require_same_database(base.tables, current.tables, inputs.current)
    for other in inputs.others:
        _require_another(other, base, current)


def _require_another(path: Path, base: SourceInfo, current: SourceInfo) -> None:
    """Raises EngineError(UNUSABLE) unless this is one more backup, older than the current data."""
    info = open_source(path).info
    require_same_database(base.tables, info.tables, path, side="other backup")
    for known, what in ((base, "the backup"), (current, "the current data")):
        if _same_file(path, known.path):
            raise EngineError(
                Exit.UNUSABLE,
                f"this other backup is {what} once more",
                where=str(path),
                hint="leave it out",
            )
    if info.taken_at and current.taken_at and info.taken_at > current.taken_at:
        raise EngineError(
            Exit.UNUSABLE,
            f"this other backup was taken at {info.taken_at.isoformat()}, after the current data"
            f" ({current.taken_at.isoformat()}): it cannot tell what was there before the damage",
            where=str(path),
            hint="leave it out, or check which file is which",
        )


def _same_file(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    return sha256(one) == sha256(other)


def examined(path: Path) -> Reading:
    """A step log with all that is wrong with it, the sources it restores tables from included."""
    reading = examine(path)
    steps = reading.log.steps if reading.log else ()
    found = tuple(problem for step in steps for problem in _about_source(step, path))
    if not found:
        return reading
    return Reading(None, (*reading.problems, *found), reading.warnings)


def _about_source(step: Step, path: Path) -> Iterator[Problem]:
    if not isinstance(step.action, Restore):
        return
    where = f"step {step.id}, restore"
    try:
        source = open_source(step.action.source)
        broken = source.problems()
        tables = source.info.tables
    except EngineError as error:
        yield Problem(str(path), step.line, f"{where}: {error.where}: {error.message}", error.hint)
        return
    for problem in broken:
        yield Problem(str(path), step.line, f"{where}: {problem}")
    for table in step.action.tables:
        if not broken and table not in tables:
            name = step.action.source.name
            yield Problem(str(path), step.line, f"{where}: {name} has no table {table}")


def evidence_of(inputs: Inputs) -> tuple[Evidence, ...]:
    """Every file that the case stands on, those that the step log names included."""
    files: list[tuple[Role, Path]] = [("backup", inputs.backup), ("current", inputs.current)]
    if inputs.steps is not None:
        files.append(("steps", inputs.steps))
        steps = examine(inputs.steps).log
        actions = [step.action for step in steps.steps] if steps else []
        files += [("import", one.file) for one in actions if isinstance(one, Import)]
        files += [("restore", one.source) for one in actions if isinstance(one, Restore)]
    files += [("other-backup", path) for path in inputs.others]
    return tuple(Evidence(role, path, 0, "") for role, path in dict.fromkeys(files))


@contextmanager
def _kept(refusals: list[EngineError]) -> Iterator[None]:
    """What cannot go on here is told later, together with the rest."""
    try:
        yield
    except EngineError as error:
        refusals.append(error)


def _refuse(refusals: Sequence[EngineError], problems: Sequence[Problem]) -> None:
    if len(refusals) == 1 and not problems:
        (one,) = refusals
        one.hint = one.hint or "check the name, or ask for the file again; nothing was made"
        raise one
    told = [
        f"{error.where}: {error.message}" if error.where else error.message for error in refusals
    ]
    told += [str(problem) for problem in problems]
    if told:
        raise EngineError(
            Exit.UNUSABLE,
            "the case cannot be opened:\n" + "\n".join(told),
            hint="put these right, or ask for the files again; nothing was made",
        )


def about_times(evidence: Sequence[Evidence], log: StepLog) -> tuple[str, ...]:
    """What the sources say of their own age, beside the step log."""
    taken = {one.role: one.taken_at for one in evidence if one.taken_at}
    warnings = list(taken_the_wrong_way_round(evidence))
    early = [
        step.id
        for step in log.steps
        if step.at and "backup" in taken and (step.until or step.at) < taken["backup"]
    ]
    if early:
        warnings.append(
            message(
                "Steps {steps} are older than the backup: what they did is in it already",
                steps=", ".join(early),
            )
        )
    return tuple(warnings)


def taken_the_wrong_way_round(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """By the times that the sources themselves give."""
    taken = {one.role: one.taken_at for one in evidence if one.taken_at}
    if "backup" not in taken or "current" not in taken or taken["backup"] <= taken["current"]:
        return ()
    return (
        message(
            "The backup was taken at {backup}, after the current data ({current}): are they"
            " swapped?",
            backup=taken["backup"],
            current=taken["current"],
        ),
    )


def about_order(
    backup: Schema, current: Schema, ledger: Ledger, *, set_back: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Numbers that only grow: when none is ahead and some are behind, the two are swapped, or an
    older state was restored over a newer one. `set_back`: sequences that are behind their own
    numbers, which says nothing about the age of the state."""
    now = {
        sequence.name: sequence.last_value
        for sequence in current.sequences
        if sequence.name not in set_back
    }
    pairs = [
        (sequence.last_value, now[sequence.name])
        for sequence in backup.sequences
        if sequence.name in now
    ]
    warnings = []
    if any(then > later for then, later in pairs) and not any(
        then < later for then, later in pairs
    ):
        warnings.append(
            message(
                "The current data is behind the backup in every number that only grows: are the"
                " two swapped, or was an older copy restored?"
            )
        )
    kept = sum(table.same + table.changed for table in ledger)
    rows = sum(table.rows.backup for table in ledger)
    if rows >= 100 and kept * 10 < rows:
        warnings.append(
            message(
                "Fewer than one row in ten of the backup is in the current data: is it the same"
                " database?"
            )
        )
    return tuple(warnings)


def require_same_database(
    backup: Collection[str],
    current: Collection[str],
    path: Path | None,
    *,
    side: str = "current data",
) -> None:
    """Raises EngineError(UNUSABLE) when the two have hardly a table (named here) in common."""
    ours, theirs = set(backup), set(current)
    if not ours or not theirs:
        raise EngineError(
            Exit.UNUSABLE,
            f"the {'backup' if not ours else side} has no tables",
            where=str(path or ""),
            hint="ask for the file again",
        )
    common = ours & theirs
    if len(common) < _SAME_TABLES_SHARE * min(len(ours), len(theirs)):
        raise EngineError(
            Exit.UNUSABLE,
            f"the {side} is of another database: it has {len(theirs)} tables, the backup"
            f" has {len(ours)}, and {len(common)} have the same name",
            where=str(path or ""),
            hint="check which file belongs to which customer",
        )


def tables_that_differ(ledger: Ledger) -> frozenset[str]:
    """Tables whose columns are not the same on both sides."""
    names = {table.table for table in ledger}
    return frozenset(
        name
        for one in ledger.schema
        if one.kind in ("table", "column")
        for name in names
        if one.name == name or one.name.startswith(f"{name}.")
    )


def rows_only_in_current(
    facts: duckdb.DuckDBPyConnection,
) -> Mapping[str, tuple[Mapping[str, str | None], ...]]:
    """Per table, the rows that the backup does not have."""
    found: dict[str, list[Mapping[str, str | None]]] = {}
    rows = facts.execute(
        "SELECT \"table\", current FROM divergence WHERE kind = 'extra'"
        ' ORDER BY "table", length(key), key'
    )
    while some := rows.fetchmany(10_000):
        for table, row in some:
            found.setdefault(str(table), []).append(json.loads(row))
    return {table: tuple(extras) for table, extras in found.items()}


def require_as_planned(facts: duckdb.DuckDBPyConnection, groups: Sequence[Group]) -> None:
    """The staged rows are those that were approved: read back, they have the digest that the plan
    has. Raises EngineError(REFUSED)."""
    for group in groups:
        digest = hashlib.sha256()
        rows = facts.execute(
            'SELECT key, "column", seen, target FROM staged WHERE "group" = ?'
            ' ORDER BY key, "column"',
            [group.id],
        )
        while some := rows.fetchmany(10_000):
            for row in some:
                digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        if digest.hexdigest() != group.operation.digest:
            raise EngineError(
                Exit.REFUSED,
                f"the rows of group {group.id} are not those that were planned and approved",
                where="case.duckdb",
                hint="open a new case from the same evidence",
            )


def require_no_trouble(ledger: Ledger) -> None:
    """A table that could not be compared because of what happened around us is compared again by
    the next run. Raises EngineError(COULD_NOT_TELL)."""
    troubled = [
        f"{table.table}: {table.why}"
        for table in ledger
        if table.status is Status.NOT_COMPARED and table.why.partition(":")[0] in _TROUBLE
    ]
    if troubled:
        raise EngineError(
            Exit.COULD_NOT_TELL,
            "the comparison could not be finished:\n" + "\n".join(troubled),
            hint="put that right and run the same command again: it resumes",
        )


def write_damage(facts: duckdb.DuckDBPyConnection, case: CaseFolder) -> None:
    """damage.parquet, in a stable order."""
    with case.writing("damage.parquet") as path:
        facts.execute(
            "COPY (SELECT * FROM damage ORDER BY ALL) TO $path (FORMAT parquet)",
            {"path": str(path)},
        )
