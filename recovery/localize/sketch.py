"""One replay that tries every way a step could have been run, to keep the few worth a replay of
their own.

At each step its variants are run for a moment and taken back: without its WHERE, and with two
other values for each constant it sets. What they would have written is compared with the current
state where no later step of the log wrote again. Hypotheses that predict what is not there fall
here, at the price of one statement instead of one history.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
from psycopg import sql

from diffing.model import Schema, Table
from recovery.localize import missing_where, wrong_value
from recovery.localize.candidate import Candidate
from recovery.localize.statement import (
    Constant,
    Target,
    constants,
    returning,
    targets,
    with_constant,
)
from recovery.model import Act, History, Laboratory, Variant

TRIALS_MAX = 8  # hypotheses of one kind that get a replay of their own
_OBSERVED_MAX = 2000  # cells read to infer a constant; the trial then judges all of them

# What the log's replay leaves behind, and which act wrote it last.
_FINALS = """
CREATE OR REPLACE TEMP TABLE finals AS
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place)
SELECT e."table", e.key, e."column", last(e.new ORDER BY e.ordinal) AS value,
       coalesce(max(p.place), 0) AS place
FROM effect e LEFT JOIN place p ON p.step = e.step
WHERE e.run = $run GROUP BY e."table", e.key, e."column"
"""

# Cells on which variant and log disagree at that act, with what the current state says.
_FORECAST = """
WITH predicted AS (
    SELECT v.key, v."column", v.value, o.value AS old,
           f.key IS NOT NULL AS written, f.value AS logged, d.key IS NOT NULL AS diverges,
           CASE WHEN d.key IS NOT NULL THEN d.current WHEN f.key IS NOT NULL AND b.key IS NULL
                THEN f.value ELSE o.value END AS current
    FROM sketch v
    JOIN sketch o ON o.variant = $old AND o.key = v.key AND o."column" = v."column"
    LEFT JOIN finals f ON f."table" = v."table" AND f.key = v.key AND f."column" = v."column"
    LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = v."table" AND d.key = v.key
         AND d."column" = v."column"
    LEFT JOIN divergence b ON b.kind IN ('missing', 'extra') AND b."table" = v."table"
         AND b.key = v.key
    WHERE v.variant = $variant AND coalesce(f.place, 0) <= $place AND b.key IS NULL)
SELECT count(*) FILTER (current IS NOT DISTINCT FROM value
           AND (diverges AND current IS DISTINCT FROM CASE WHEN written THEN logged ELSE old END)),
       count(*) FILTER (current IS DISTINCT FROM value
           AND current IS NOT DISTINCT FROM CASE WHEN written THEN logged ELSE old END)
FROM predicted
"""
_FORECAST_GONE = """
SELECT count(*) FILTER (m.key IS NOT NULL AND f.key IS NULL), count(*) FILTER (m.key IS NULL)
FROM sketch v
LEFT JOIN finals f ON f."table" = v."table" AND f.key = v.key AND f."column" = ''
LEFT JOIN divergence m ON m.kind = 'missing' AND m."table" = v."table" AND m.key = v.key
WHERE v.variant = $variant AND coalesce(f.place, 0) <= $place
"""

_OBSERVED = """
SELECT a.value, b.value, d.current, g.value
FROM sketch a
JOIN sketch b ON b.variant = $second AND b.key = a.key AND b."column" = a."column"
LEFT JOIN sketch g ON g.variant = $far AND g.key = a.key AND g."column" = a."column"
JOIN divergence d ON d.kind = 'changed' AND d."table" = a."table" AND d.key = a.key
     AND d."column" = a."column"
LEFT JOIN finals f ON f."table" = a."table" AND f.key = a.key AND f."column" = a."column"
WHERE a.variant = $first AND coalesce(f.place, 0) <= $place AND a.value IS DISTINCT FROM b.value
ORDER BY a.key, a."column" LIMIT $most
"""


@dataclass(frozen=True, slots=True)
class _Lost:
    """A lost condition to be forecast: its candidate, its variant, and that of the rows before."""

    candidate: Candidate
    variant: Variant
    old: Variant | None
    place: int


@dataclass(frozen=True, slots=True)
class _Constant:
    """A constant to be inferred from probes."""

    act: Act
    statement: int
    constant: Constant
    probes: tuple[Variant, ...]  # two near ones, and one far away
    place: int


def worth_trying(
    acts: tuple[Act, ...],
    history: History,
    schema: Schema,
    facts: duckdb.DuckDBPyConnection,
    laboratory: Laboratory,
    *,
    run: str,
    wrong_values: frozenset[str],
) -> Iterator[Candidate]:
    """Candidates for these acts that the current state does not contradict at first sight.
    `run` is the replay of `history`; `wrong_values` are acts whose constants are in doubt."""
    places = {act.id: place for place, act in enumerate(history, 1)}
    facts.execute(_FINALS, {"acts": list(places), "run": run})
    lost: list[_Lost] = []
    doubtful: list[_Constant] = []
    for act in acts:
        lost += _lost(act, history, schema, places[act.id])
        if act.id in wrong_values:
            doubtful += _doubtful(act, schema, places[act.id])
    variants = [one.variant for one in lost] + [one.old for one in lost if one.old]
    variants += [probe for one in doubtful for probe in one.probes]
    if not variants:
        return
    laboratory.sketch(history, tuple(dict.fromkeys(variants)))
    yield from _likely(facts, lost)
    for one in doubtful:
        first, second, far = (probe.id for probe in one.probes)
        names = {"first": first, "second": second, "far": far, "place": one.place}
        rows = facts.execute(_OBSERVED, names | {"most": _OBSERVED_MAX}).fetchall()
        seen = [wrong_value.Observation(*row) for row in rows]
        value = wrong_value.inferred(one.constant, seen)
        if value is not None and value != one.constant.text:
            yield wrong_value.candidate(
                one.act, one.statement, one.constant, value, history, schema
            )


def _likely(facts: duckdb.DuckDBPyConnection, lost: list[_Lost]) -> Iterator[Candidate]:
    forecast: list[tuple[int, str, Candidate]] = []
    for one in lost:
        names: dict[str, object] = {"variant": one.variant.id, "place": one.place}
        if one.old is not None:
            row = facts.execute(_FORECAST, names | {"old": one.old.id}).fetchone()
        else:
            row = facts.execute(_FORECAST_GONE, names).fetchone()
        assert row is not None
        hits, misses = int(row[0]), int(row[1])
        if hits and misses <= hits:
            forecast.append((misses - hits, one.variant.id, one.candidate))
    for _, _, candidate in sorted(forecast, key=lambda one: one[:2])[:TRIALS_MAX]:
        yield candidate


def _lost(act: Act, history: History, schema: Schema, place: int) -> Iterator[_Lost]:
    for number, candidate in enumerate(missing_where.candidates(act, history, schema)):
        aim = _aim(candidate.statement, schema)
        statement = candidate.place
        if aim is None:
            continue
        table = schema.table(aim.table)
        columns = tuple(sorted(aim.columns))
        told = returning(candidate.statement, (*table.key.columns, *columns))
        variant = Variant(f"{act.id}/w{number}", act.id, statement, told, table.name, columns)
        old = _before(act, statement, table, columns) if columns else None
        yield _Lost(candidate, variant, old, place)


def _before(act: Act, statement: int, table: Table, columns: tuple[str, ...]) -> Variant:
    """The columns of all rows as the act finds them."""
    shown = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
            sql.Identifier(column)
        )
        for column in (*table.key.columns, *columns)
    )
    text = sql.SQL("SELECT {} FROM {}").format(shown, sql.Identifier(table.schema, table.relation))
    name = f"{act.id}/{statement}/old"
    return Variant(name, act.id, statement, text.as_string(None), table.name, columns)


def _doubtful(act: Act, schema: Schema, place: int) -> Iterator[_Constant]:
    for number, text in enumerate(act.statements):
        aim = _aim(text, schema)
        if aim is None or aim.op != "update":
            continue
        table = schema.table(aim.table)
        columns = tuple(sorted(aim.columns))
        for constant in constants(text):
            probes = tuple(
                Variant(
                    f"{act.id}/{number}/{constant.place}={value}",
                    act.id,
                    number,
                    returning(with_constant(text, constant, value), (*table.key.columns, *columns)),
                    table.name,
                    columns,
                )
                for value in (*wrong_value.PROBES, wrong_value.FAR)
            )
            yield _Constant(act, number, constant, probes, place)


def _aim(text: str, schema: Schema) -> Target | None:
    """The table that a statement changes, if it has a key to name rows by."""
    found = targets(text, schema)
    if len(found) != 1 or found[0].op == "insert":
        return None
    table = schema.table(found[0].table)
    known = {column.name for column in table.columns}
    return found[0] if table.key.columns and found[0].columns <= known else None
