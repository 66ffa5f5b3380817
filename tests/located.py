"""A small case, located in this process: a backup made by SQL, what was really done to it, and the
step log that tells of it. Everything is real (server, replay, localization); only the files that a
customer would hand over are left out.

`happened` is run on a copy of the backup with the clock of the server itself; texts are compared
as the product compares them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import duckdb

from diffing.engine import Options, compare
from diffing.model import Ledger, Schema
from recovery.case.facts import open_facts
from recovery.doubts import rows_only_in_current
from recovery.earlier import Other, compare_others
from recovery.localize.locate import BASE, MOVED, Given, Located, locate
from recovery.model import Complaint, Fault, Sql, Step, StepLog
from recovery.replay.history import history
from recovery.replay.identity import Identities, feeds
from recovery.replay.run import Ground, Laboratory, prepare_ground, replay
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster
from recovery.scratch.ready import make_ready
from recovery.scratch.state import LoadedState

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOVED_BY = timedelta(hours=1, minutes=7, seconds=13, microseconds=123)
_numbers = count(1)


class Quiet:
    """Progress that nobody watches."""

    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


def step(name: str, text: str, **said) -> Step:
    """A step at its own minute after START: step '7' seven minutes after it. `said`: fields of
    Step (rows, suspect, describes, actor ...)."""
    minutes = int("".join(one for one in name if one.isdigit()) or 0)
    return Step(name, 0, name, Sql(text), **{"at": START + timedelta(minutes=minutes), **said})


@dataclass(frozen=True, slots=True)
class Damaged:
    """One row of `damage`."""

    key: str  # as JSON
    column: str
    label: str
    grade: str
    backup: str | None
    current: str | None
    target: str | None


@dataclass
class Case:
    located: Located
    facts: duckdb.DuckDBPyConnection
    schema: Schema
    databases: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[tuple[str, str]]:
        """(step, class) of the accepted faults."""
        return [(one.step, str(one.fault_class)) for one in self.located.faults if one.accepted]

    @property
    def alternatives(self) -> list[tuple[str, str]]:
        return [(one.step, str(one.fault_class)) for one in self.located.faults if not one.accepted]

    @property
    def fault(self) -> Fault:
        (found,) = (one for one in self.located.faults if one.accepted)
        return found

    def damage(self, table: str) -> list[Damaged]:
        rows = self.facts.execute(
            'SELECT key, "column", label, grade, backup, current, target FROM damage'
            ' WHERE "table" = ? ORDER BY length(key), key, "column"',
            [table],
        ).fetchall()
        return [Damaged(*row) for row in rows]

    def targets(self, table: str, column: str) -> dict[str, tuple[str | None, str]]:
        """Per first value of the key: (target, grade) of the damaged cells of this column."""
        return {
            str(next(iter(json.loads(one.key).values()))): (one.target, one.grade)
            for one in self.damage(table)
            if one.column == column
        }


@contextmanager
def located(
    scratch: Cluster,
    folder: Path,
    backup: str,
    happened: str,
    steps: Sequence[Step],
    *,
    complaints: Sequence[Complaint] = (),
    complete: bool = False,
    covered: Sequence[str] = (),
    describes: str = "intended",
    time_is_up: Callable[[], bool] = lambda: False,
    others: Sequence[tuple[datetime | None, str]] = (),
) -> Iterator[Case]:
    """Locate what went wrong when `steps` were written down and `happened` was run. Steps that do
    not say what their texts describe describe what was `describes`. `others`: backups taken later,
    each with its time and what was done to the first one until then."""
    name = f"located_{next(_numbers)}"
    databases = [f"{name}_backup", f"{name}_current", f"{name}_base"]
    scratch.create(databases[0])
    facts = open_facts(folder / f"{name}.duckdb")
    try:
        with scratch.connect(databases[0]) as connection:
            connection.execute(backup.encode())
            make_ready(connection)
            schema = read_schema(connection)
        scratch.clone(databases[0], databases[1])
        with scratch.connect(databases[1]) as connection:
            connection.execute(happened.encode())
        taken = [Other("backup", LoadedState(scratch, databases[0]), START - timedelta(days=1))]
        for number, (at, done) in enumerate(others, 2):
            databases.append(f"{name}_backup_{number}")
            scratch.clone(databases[0], databases[-1])
            with scratch.connect(databases[-1]) as connection:
                connection.execute(done.encode())
            taken.append(Other(f"backup-{number}", LoadedState(scratch, databases[-1]), at))
        if others:
            compare_others(taken[0], tuple(taken[1:]), facts, workspace=folder, progress=Quiet())
        ledger = _compared(scratch, databases, facts, folder)
        said = tuple(
            one if one.describes != "unknown" else replace(one, describes=describes)
            for one in steps
        )
        log = StepLog(said, tuple(complaints), complete, frozenset(covered))
        yield _located(scratch, databases, facts, folder, schema, ledger, log, time_is_up)
    finally:
        facts.close()
        for database in databases:
            scratch.drop(database)


def _compared(
    scratch: Cluster, databases: Sequence[str], facts: duckdb.DuckDBPyConnection, folder: Path
) -> Ledger:
    backup, current = (LoadedState(scratch, name) for name in databases[:2])
    return compare(backup, current, facts, workspace=folder, options=Options(), progress=Quiet())


def _located(scratch, databases, facts, folder, schema, ledger, log, time_is_up) -> Case:
    prepare_ground(scratch, databases[0], databases[2])
    identities = Identities(feeds(schema), rows_only_in_current(facts))
    ground = Ground(scratch, databases[2], schema, facts, identities, folder)
    acts = history(log, schema, begins=START)
    base = replay(ground, acts, BASE)
    replay(ground, acts, MOVED, shift=MOVED_BY, seed=-0.25)

    def rarely(table: str, column: str, values: tuple[str, ...]) -> frozenset[str]:
        with scratch.connect(databases[0]) as connection:
            held = {
                str(value)
                for (value,) in connection.execute(
                    f'SELECT DISTINCT "{column}"::text FROM {table}'.encode()
                ).fetchall()
            }
        return frozenset(values) - held

    with scratch.connect(databases[1]) as connection:
        sequences = read_schema(connection).sequences
    with closing(Laboratory(ground)) as laboratory:
        given = Given(
            log,
            acts,
            schema,
            base,
            ledger,
            facts,
            laboratory,
            rarely,
            False,
            Quiet(),
            time_is_up,
            sequences=sequences,
        )
        return Case(locate(given), facts, schema, list(databases))
