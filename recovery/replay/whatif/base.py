"""The base of what-ifs: its history run once in the working database, with every row it wrote
noted, every statement read, and the account compared with what decoding told of the same run.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import postgast
from psycopg import Connection

from recovery.model import Act, History, Outcome, Replay, StepOutcome
from recovery.replay.borrow import UNDOCUMENTED
from recovery.replay.ground import Ground
from recovery.replay.session import Session
from recovery.replay.transactions import batches
from recovery.replay.whatif.dependence import Dependence
from recovery.replay.whatif.numbers import Numbers
from recovery.replay.whatif.reads import Reader, Reading, defines
from recovery.replay.whatif.record import install
from recovery.replay.whatif.relations import Relations, read_relations
from recovery.replay.whatif.runner import Ran, Runner, Untold
from recovery.replay.whatif.shapes import Shapes
from recovery.replay.whatif.together import ACTS_MAX, Part, fits, run_together
from recovery.replay.whatif.versions import Versions, fields, steps
from recovery.scratch.catalog import read_schema

_COUNTED = """
SELECT step, "table", count(*) FILTER (op = 'update'), count(*) FILTER ("column" = '')
FROM effect WHERE run = ? GROUP BY ALL
"""
_EARLIER = """
SELECT "table", key, "column", last(step ORDER BY ordinal) FROM effect
WHERE run = $run AND list_contains($steps::VARCHAR[], step) GROUP BY ALL
"""


@dataclass(slots=True)
class Base:
    """`floor`: the last act that changed what the database is; what-ifs begin behind it. `known`:
    tables that the backup has. `blind`: those that decoding did not see whole. `obstacle`: why
    nothing can be told at all, or ''. `earlier`: who wrote the cells of a row last, up to the
    floor; under the column '' who made or took away the row."""

    history: History
    relations: Relations
    versions: Versions
    numbers: Numbers
    reader: Shapes
    floor: int
    known: frozenset[int]
    readings: list[Reading] = field(default_factory=list)
    failed: frozenset[int] = frozenset()
    blind: frozenset[int] = frozenset()
    obstacle: str = ""
    earlier: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return len(self.history) - 1

    def plain(self, act: int) -> bool:
        """Whether an act is understood well enough to be told without running it."""
        reading = self.readings[act]
        strange = reading.barrier or reading.opaque or reading.session or reading.unobserved
        return not strange and not reading.shuffled and act not in self.failed

    def in_backup(self, table: int) -> bool:
        """Whether the backup has the table; others are followed, and not told."""
        return table in self.known

    def read(self, act: Act) -> Reading:
        """What an act can meet, in the transactions that it runs in."""
        found = Reading()
        for batch in batches(act):
            if batch.kept:
                found.add(self.reader.read(batch.statements))
            if not batch.kept or not batch.wrapped:
                found.barrier = found.barrier or "transactions of its own"
        return found


def run_base(
    ground: Ground,
    database: str,
    connection: Connection[tuple[object, ...]],
    history: History,
    base: Replay,
    dependence: Dependence,
) -> tuple[Base, Runner]:
    """Replay `history`, whose run is `base`, in a fresh clone to which `connection` leads. The
    clone then stands at its end, and everything that is written there is noted."""
    floor = _floor(history, base)
    with closing(Session(ground.cluster, database, ground.schema, ground.identities)) as session:
        told = [session.run(act) for act in history[: floor + 1]]
        found = _begin(ground, database, connection, history, floor, dependence)
        runner = Runner(ground, connection, found.relations, found.numbers)
        before = {one.step: one for one in base.outcomes}
        waiting: list[int] = []
        for number, act in enumerate(history[floor + 1 :], floor + 1):
            found.readings.append(found.read(act))
            together = fits(act, found.readings[number], before.get(act.id))
            if waiting and (not together or len(waiting) == ACTS_MAX):
                told += _several(found, runner, session, waiting)
                waiting = []
            if together:
                waiting.append(number)
            else:
                told.append(_act(found, runner, session, number))
        told += _several(found, runner, session, waiting)
    found.versions.close()
    runner.empty()
    found.failed = frozenset(
        number for number, one in enumerate(told) if one.outcome is Outcome.FAILED
    )
    known = {one.step: (one.outcome, one.rows) for one in base.outcomes}
    if any(known.get(one.step) != (one.outcome, one.rows) for one in told):
        found.obstacle = found.obstacle or "the history does not come out the same twice"
    numbers = found.relations.numbers
    found.blind = frozenset(numbers[name] for name in base.blind if name in numbers)
    found.obstacle = found.obstacle or found.relations.obstacle or _checked(ground, base, found)
    found.earlier = _earlier(ground, base, history[: floor + 1])
    return found, runner


def _earlier(
    ground: Ground, base: Replay, acts: History
) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """Nobody noted what these wrote; decoding saw it."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    if acts:
        names = {"run": base.run, "steps": [act.id for act in acts]}
        for table, key, column, step in ground.facts.execute(_EARLIER, names).fetchall():
            found.setdefault((str(table), str(key)), {})[str(column)] = str(step)
    return found


def _several(
    found: Base, runner: Runner, session: Session, numbers: Sequence[int]
) -> list[StepOutcome]:
    """Run these base acts, in one go where that can be."""
    parts = [Part(found.history[one], found.readings[one].numbering) for one in numbers]
    if len(parts) > 1:
        done = run_together(runner, parts, found.numbers.at(numbers[0] - 1))
        if done is not None:
            pairs = zip(numbers, done, strict=True)
            return [_noted(found, number, ran, now) for number, (ran, now) in pairs]
        found.numbers.look(runner.connection)
    return [_act(found, runner, session, number) for number in numbers]


def _act(found: Base, runner: Runner, session: Session, number: int) -> StepOutcome:
    """Run a base act, in the way in which what-ifs run it where that can be."""
    act = found.history[number]
    numbers, connection = found.numbers, runner.connection
    if act.statements and not found.readings[number].barrier:
        runner.begin()
        try:
            ran, now = runner.run(act, numbers.at(number - 1))
        except Untold:
            connection.execute("ROLLBACK")
            numbers.look(connection)
        else:
            connection.execute("COMMIT")
            numbers.put(connection, now)
            return _noted(found, number, ran, now)
    numbers.put(connection, numbers.at(number - 1))
    runner.empty()
    told = session.run(act)
    numbers.note(number, numbers.look(connection))
    for mark, written in runner.unread():
        if mark != act.id:
            found.obstacle = found.obstacle or "rows were written that belong to no act"
        found.versions.note(number, written)
    return told


def _noted(found: Base, number: int, ran: Ran, now: Mapping[str, int]) -> StepOutcome:
    found.numbers.note(number, now)
    for written in ran.written:
        found.versions.note(number, written)
    outcome = Outcome.FAILED if ran.failed else Outcome.DONE
    return StepOutcome(found.history[number].id, outcome, rows=ran.rows)


def _begin(
    ground: Ground,
    database: str,
    connection: Connection[tuple[object, ...]],
    history: History,
    floor: int,
    dependence: Dependence,
) -> Base:
    schema = read_schema(connection)
    relations = read_relations(connection, schema, ground.schema)
    with ground.cluster.keeper(database) as keeper:
        install(keeper, connection, relations)
    numbers = Numbers(schema, ground.identities.feeds)
    numbers.begin(connection)
    versions = Versions(relations, len(history))
    reader = Shapes(Reader(relations, triggers=dependence.triggers), filled=dependence.constants)
    known = frozenset(one.number for one in relations.tables if ground.schema.has(one.name))
    readings = [Reading() for _ in history[: floor + 1]]
    return Base(history, relations, versions, numbers, reader, floor, known, readings)


def _floor(history: History, base: Replay) -> int:
    altered = {one.step for one in base.outcomes if one.altered or not one.complete}
    floor = -1
    for number, act in enumerate(history):
        if defines(act.statements) or (act.id in altered and not _empties(act.statements)):
            floor = number
    return floor


def _empties(statements: Iterable[str]) -> bool:
    """Whether a TRUNCATE among them is why files were replaced."""
    return any(
        one.stmt.WhichOneof("node") == "truncate_stmt"
        for text in statements
        for one in postgast.parse(text).stmts
    )


def _checked(ground: Ground, base: Replay, found: Base) -> str:
    """Where decoding and triggers do not tell the same of a run, neither is trusted."""
    borrowed = ground.facts.execute(
        "SELECT count(*) FROM effect WHERE run = ? AND step = ?", [base.run, UNDOCUMENTED]
    ).fetchone()
    if borrowed is not None and borrowed[0]:
        return "rows were borrowed from the current state"
    told = {
        (str(step), str(table)): (int(cells), int(rows))
        for step, table, cells, rows in ground.facts.execute(_COUNTED, [base.run]).fetchall()
    }
    altered = {one.step for one in base.outcomes if one.altered or not one.complete}
    suspects = ground.suspects.keys() | altered
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    for number, act in enumerate(found.history):
        if number <= found.floor or act.id in suspects:
            continue
        for (table, name), counted in _counted(found, number).items():
            seen[act.id, name] = counted
            if told.get((act.id, name), (0, 0)) != counted and table not in found.blind:
                return f"{name} was captured otherwise by decoding than by triggers"
    behind = {act.id for act in found.history[found.floor + 1 :]} - suspects
    if any(counts and name[0] in behind and name not in seen for name, counts in told.items()):
        return "decoding captured rows that triggers did not"
    return ""


def _counted(found: Base, act: int) -> dict[tuple[int, str], tuple[int, int]]:
    """Cells and rows as `effect` has them, per table."""
    counts: dict[tuple[int, str], tuple[int, int]] = {}
    for written in found.versions.written[act]:
        relation = found.relations.tables[written.table]
        if written.old == written.new or not found.in_backup(written.table):
            continue
        cells, rows = counts.get((written.table, relation.name), (0, 0))
        for step in steps(relation, written):
            if isinstance(step.before, str) and isinstance(step.after, str):
                pairs = zip(fields(step.before), fields(step.after), strict=True)
                cells += sum(old != new for old, new in pairs)
            else:
                rows += 1
        counts[written.table, relation.name] = cells, rows
    return counts
