"""unlogged: a statement that nobody wrote down did the damage.

log:      (nothing)
executed: UPDATE t SET a = a * 0.5 WHERE s = 3

The statement is made up from what is not explained: cells that hold one value, or differ by one
number or in one proportion, rows that are gone, rows that came in one moment; and the shortest
condition that tells their rows from the others. Somebody's work looks just the same, so it is only
called damage where people say so (`testimony`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
from psycopg import sql

from diffing.model import Table
from recovery.deviation import Insert
from recovery.localize.clusters import Cluster, clusters, inserted, overlap, sample, surroundings
from recovery.localize.conditions import Condition, conditions, literal
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import injective_columns
from recovery.localize.testimony import Support, doubted_tables, on_purpose_or_not, support
from recovery.messages import message
from recovery.model import Act, Fault, FaultClass, Question, Variant

_PRIOR = 8.0  # bits: among all faults, one that the log says nothing of
_CONSTANT_MAX = 16.0
_CONDITIONS_MAX = 2
_CLUSTERS_MAX = 4
_TOGETHER = 0.9  # share of the rows that two columns must have in common to be one statement's

_FIRST_TOUCH = """
SELECT min(p.place) FROM effect e
JOIN (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place) p
  ON p.step = e.step
WHERE e.run = $run AND e."table" = $table AND e."column" = $column
"""
_FIRST_FED = """
SELECT min(place) FROM residue
WHERE place > 0 AND kind = 'changed' AND ("table" <> $table OR "column" <> $column)
"""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A cluster that people say something about, with the clusters of other columns that have the
    same rows."""

    main: Cluster
    others: tuple[Cluster, ...]
    support: Support

    @property
    def columns(self) -> tuple[Cluster, ...]:
        return (self.main, *self.others)


def ask(scene: Scene) -> Iterator[Variant]:
    for doubt in _doubts(scene):
        if doubt.main.signature != "added":
            yield surroundings(scene, doubt.main)


def propose(scene: Scene) -> Iterator[Candidate]:
    for doubt in _doubts(scene):
        if doubt.main.signature == "added":
            yield from _added(scene, doubt)
            continue
        for condition in conditions(sample(scene, doubt.main))[:_CONDITIONS_MAX]:
            text = _statement(scene, doubt, condition)
            constant = len(doubt.main.constant or "") * 3.4
            bits = condition.bits + min(constant, _CONSTANT_MAX)
            where = condition.text().as_string(None)
            for after, at in _places(scene, doubt):
                yield _candidate(scene, doubt, (text,), where, bits, (after, at))


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Nothing that people say speaks against it, and something for it."""
    return witness.testified


def told(candidate: Candidate, score: Score) -> str:
    if candidate.step:
        return message(
            "Nobody wrote down what step {step} did in the database; this statement explains"
            " {rows} rows: {statement}",
            step=candidate.step,
            rows=score.hit_rows,
            statement=_short(candidate.statement),
        )
    return message(
        "No step does it, but one statement explains {rows} rows: {statement}",
        rows=score.hit_rows,
        statement=_short(candidate.statement),
    )


def asks(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    """Where people have said too little: was it a mistake at all?"""
    if candidate.certain:
        return ()
    cells = sum(count for _, count in fault.cells)
    return (
        Question(
            f"{fault.id}-purpose",
            message(
                "Nobody wrote this down: {statement}. Was it done on purpose?",
                statement=_short(candidate.statement),
            ),
            on_purpose_or_not(cells),
            cells,
        ),
    )


def _doubts(scene: Scene) -> Sequence[_Doubt]:
    """The likeliest first: what people say counts, then how many rows there are."""
    found = clusters(scene, doubted_tables(scene))
    said = [(one, support(scene, one)) for one in found]
    known = [(one, heard) for one, heard in said if heard.enough]
    known.sort(
        key=lambda pair: (
            -(pair[1].wrong + pair[1].right),
            pair[1].step is None,
            _is_time(scene, pair[0]),
            -pair[0].rows,
            pair[0].number,
        )
    )
    doubts: list[_Doubt] = []
    used: set[int] = set()
    for one, heard in known:
        if one.number in used or len(doubts) == _CLUSTERS_MAX:
            continue
        others: dict[str, Cluster] = {}
        if one.column:
            for other in found:
                same = other.table == one.table and other.column not in ("", one.column)
                if same and overlap(scene, one, other) >= _TOGETHER:
                    others.setdefault(other.column, other)
        doubts.append(_Doubt(one, tuple(others.values()), heard))
        used |= {one.number, *(other.number for other in others.values())}
    return doubts


def _is_time(scene: Scene, one: Cluster) -> bool:
    """A moment is what a statement leaves beside what it was for."""
    if not one.column:
        return False
    return scene.schema.table(one.table).column(one.column).type.startswith("timestamp")


def _statement(scene: Scene, doubt: _Doubt, condition: Condition) -> str:
    table = scene.schema.table(doubt.main.table)
    name = sql.Identifier(table.schema, table.relation)
    where = sql.SQL(" WHERE {}").format(condition.text()) if condition.atoms else sql.SQL("")
    if doubt.main.signature == "gone":
        return sql.SQL("DELETE FROM {}{}").format(name, where).as_string(None)
    said = sql.SQL(", ").join(_assigned(table, one) for one in doubt.columns)
    return sql.SQL("UPDATE {} SET {}{}").format(name, said, where).as_string(None)


def _assigned(table: Table, one: Cluster) -> sql.Composable:
    name, column = sql.Identifier(one.column), table.column(one.column)
    match one.signature:
        case "difference":
            number = Decimal(one.constant or "0")
            sign = sql.SQL("-" if number < 0 else "+")
            return sql.SQL("{0} = {0} {1} {2}").format(name, sign, sql.Literal(abs(number)))
        case "ratio":
            return sql.SQL("{0} = {0} * {1}").format(
                name, sql.Literal(Decimal(one.constant or "1"))
            )
        case _:
            return sql.SQL("{} = {}").format(name, literal(column, one.constant))


def _added(scene: Scene, doubt: _Doubt) -> Iterator[Candidate]:
    """Rows that all have one moment: they came together."""
    one = doubt.main
    table = scene.schema.table(one.table)
    text = inserted(scene, table, one.number)
    shown = f"{one.since} = {one.constant}"
    for after, at in _places(scene, doubt):
        yield _candidate(scene, doubt, (text,), shown, 8.0, (after, at))


def _places(scene: Scene, doubt: _Doubt) -> Iterator[tuple[str, datetime]]:
    """Behind which act it may have come, and when: where a moment that it left shows it, behind
    the step that is suspected, or at the end; and, where steps wrote the same cells or show what
    they read, before them."""
    acts = scene.history
    end = acts[-1].at if acts else datetime(2000, 1, 1, tzinfo=UTC)
    moment = next((at for one in doubt.columns if (at := _moment(scene, one)) is not None), None)
    if moment is not None:
        before = [act.id for act in acts if act.at <= moment]
        yield (before[-1] if before else ""), moment
        return
    if doubt.support.step is not None:
        act = acts[scene.place(doubt.support.step.id) - 1]
        yield act.id, act.at
        return
    yield (acts[-1].id if acts else ""), end + timedelta(milliseconds=1)
    names: dict[str, object] = {"table": doubt.main.table, "column": doubt.main.column}
    run: dict[str, object] = {"acts": [act.id for act in acts], "run": scene.base.run}
    earlier: set[int] = set()
    for query, more in ((_FIRST_TOUCH, run), (_FIRST_FED, {})):
        row = scene.facts.execute(query, names | more).fetchone()
        if row is not None and row[0] is not None and row[0] not in earlier:
            earlier.add(row[0])
            place = int(row[0])
            yield (
                acts[place - 2].id if place > 1 else "",
                acts[place - 1].at - timedelta(milliseconds=1),
            )


def _moment(scene: Scene, one: Cluster) -> datetime | None:
    if one.signature == "added" or (_is_time(scene, one) and one.signature == "value"):
        try:
            at = datetime.fromisoformat(one.constant or "")
        except ValueError:
            return None
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return None


def _candidate(
    scene: Scene,
    doubt: _Doubt,
    statements: tuple[str, ...],
    where: str,
    bits: float,
    place: tuple[str, datetime],
) -> Candidate:
    main, heard = doubt.main, doubt.support
    number = sum(act.id.startswith("~unlogged") for act in scene.history) + 1
    name = f"~unlogged/{number}/{main.table}{'.' if main.column else ''}{main.column}"
    after, at = place
    table = scene.schema.table(main.table)
    which = math.log2(max(len(scene.schema.tables), 2))
    if main.column:
        which += math.log2(max(len(table.columns), 2)) + 2
    return Candidate(
        FaultClass.UNLOGGED,
        heard.step.id if heard.step else "",
        name,
        tuple(_parameters(doubt, where)),
        ";\n".join(statements),
        (Insert(after, Act(name, statements, at)),),
        (),
        _PRIOR + which + bits + (1.0 if number > 1 else 0.0),
        tuple(one.target for one in doubt.columns),
        frozenset.union(*(injective_columns(text) for text in statements)),
        certain=heard.confirmed,
    )


def _parameters(doubt: _Doubt, where: str) -> Iterator[tuple[str, str]]:
    yield "table", doubt.main.table
    for one in doubt.columns:
        if one.column:
            yield one.signature, f"{one.column}: {'NULL' if one.constant is None else one.constant}"
    yield "rows", where


def _short(statement: str) -> str:
    return statement if len(statement) <= 300 else statement[:300] + " ..."


HYPOTHESIS = Hypothesis(FaultClass.UNLOGGED, propose, told, ask, admits, asks=asks)
