"""The body of a script: settings, canary, staged values, and one DO block that does everything or
nothing. The order inside the block is the manual procedure: recognise, look, decide, write, check.
"""

from collections.abc import Iterator

import duckdb

from diffing.model import PINNED_SETTINGS, Schema, Table
from recovery.script.context import ScriptContext, TableSample
from recovery.script.dialect import Dialect, Fragment, fill, join
from recovery.script.guards import classify, staged
from recovery.script.recognise import (
    BROKEN,
    MOVED,
    canary,
    contents,
    refuse,
    settings,
    shape,
)
from recovery.script.references import (
    deferred,
    dependants,
    locked_children,
    orphans,
    unplanned_children,
)
from recovery.script.sequences import sequences_forward
from recovery.script.staged import Write, rows_of
from recovery.script.staging import numbered, sampling, staging
from recovery.script.statements import write_statement
from recovery.script.triggers import planned_off, spans, switched_off, switched_on

APPLIED, ALREADY_APPLIED = "dbmend: applied: ", "dbmend: already applied: "
LOOKED = "-- dbmend: so far nothing was written; what follows writes"
_ROWS_SHOWN = 10


def body(
    writes: tuple[Write, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    context: ScriptContext,
    dialect: Dialect,
    *,
    undo: bool,
) -> str:
    """The whole text between header and end of file. Same input, same bytes."""
    samples = tuple(
        (schema.table(sample.table), sample)
        for sample in context.landmarks.samples
        if sample.rows and schema.table(sample.table).key.columns
    )
    parts = [
        *_opening(context, dialect),
        *(part for write in writes for part in _staging(write, facts, context, dialect)),
        *(
            part
            for number, (_, sample) in enumerate(samples, start=1)
            for part in sampling(number, sample, dialect)
        ),
        _block(writes, samples, schema, context, dialect, undo=undo),
        Fragment("COMMIT;\n"),
    ]
    return join("", parts)


def _staging(
    write: Write, facts: duckdb.DuckDBPyConnection, context: ScriptContext, dialect: Dialect
) -> Iterator[Fragment]:
    return staging(write, rows_of(write, facts, context.landmarks), dialect)


def touched(writes: tuple[Write, ...]) -> tuple[Table, ...]:
    """Every written table once, by name."""
    return tuple(sorted({write.table for write in writes}, key=lambda table: table.name))


def locked(writes: tuple[Write, ...], schema: Schema) -> tuple[Table, ...]:
    """Every table that is locked, in the order in which it is."""
    tables = {*touched(writes), *locked_children(writes, schema)}
    return tuple(sorted(tables, key=lambda table: table.name))


def _opening(context: ScriptContext, dialect: Dialect) -> Iterator[Fragment]:
    yield Fragment("BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE;\n")
    pinned = (
        *PINNED_SETTINGS,
        ("search_path", ""),
        ("client_min_messages", "notice"),
        ("lock_timeout", str(context.lock_timeout_seconds) + "s"),
        ("statement_timeout", str(context.statement_timeout_seconds) + "s"),
    )
    for name, value in pinned:
        yield fill(
            "SET LOCAL {name} = {value};\n", name=Fragment(name), value=dialect.literal(value)
        )
    yield canary(dialect)


def _block(
    writes: tuple[Write, ...],
    samples: tuple[tuple[Table, TableSample], ...],
    schema: Schema,
    context: ScriptContext,
    dialect: Dialect,
    *,
    undo: bool,
) -> Fragment:
    tables = {*touched(writes), *(table for table, _ in samples)}
    code = join(
        "",
        (
            settings(dialect),
            *(_whole(write, dialect) for write in writes),
            *(shape(table, dialect) for table in sorted(tables, key=lambda table: table.name)),
            *(
                fill(
                    "LOCK TABLE {rows} IN SHARE ROW EXCLUSIVE MODE;\n", rows=dialect.rows_of(table)
                )
                for table in locked(writes, schema)
            ),
            contents(samples, dialect),
            *(classify(write, dialect, "before") for write in writes),
            dependants(writes, schema, dialect) if context.on_moved == "skip" else Fragment(""),
            _count(writes, dialect, done_is_fine=context.on_moved == "skip"),
            Fragment(LOOKED + "\n"),
            _decide(context, dialect),
            *(_saved(write, context, dialect) for write in writes if _keeps(context, undo=undo)),
            _write(writes, schema, dialect),
            Fragment("SET CONSTRAINTS ALL IMMEDIATE;\n"),
            *(classify(write, dialect, "after") for write in writes),
            *(_reached(write, dialect) for write in writes),
            *(orphans(write, schema, dialect) for write in writes),
            switched_on(writes, dialect) if spans(writes, schema) else Fragment(""),
            sequences_forward(writes, schema, dialect),
            _applied(dialect),
        ),
    )
    return _do(writes, code)


def _do(writes: tuple[Write, ...], code: Fragment) -> Fragment:
    block = fill(
        "#variable_conflict use_column\nDECLARE\n"
        "dbmend_count pg_catalog.int8;\ndbmend_expected pg_catalog.int8;\n"
        "dbmend_found pg_catalog.int8 := 0;\ndbmend_ready pg_catalog.int8;\n"
        "dbmend_done pg_catalog.int8;\ndbmend_other pg_catalog.int8;\n"
        "dbmend_text pg_catalog.text;\n{modes}BEGIN\n{code}END\n",
        modes=join(
            "",
            (
                fill("dbmend_mode_{n} pg_catalog.text;\n", n=Fragment(str(number)))
                for number, _ in enumerate(planned_off(writes), start=1)
            ),
        ),
        code=code,
    )
    tag = _tag(block)
    return fill("DO {tag}\n{block}{tag};\n", tag=tag, block=block)


def _tag(block: Fragment) -> Fragment:
    """A dollar quote that does not occur in what it encloses, whatever tables are called."""
    number = 0
    while (tag := "$dbmend" + (str(number) if number else "") + "$") in block:
        number += 1
    return Fragment(tag)


def _whole(write: Write, dialect: Dialect) -> Fragment:
    return fill(
        "SELECT pg_catalog.count(*) INTO dbmend_count FROM {st};\n"
        "IF dbmend_count <> {rows} THEN\n{refuse}END IF;\n",
        st=staged(write),
        rows=Fragment(str(write.rows)),
        refuse=refuse(
            dialect,
            BROKEN,
            "a part of the script did not arrive: staged rows of " + write.group + ": ",
            figures=Fragment("dbmend_count"),
        ),
    )


def _decide(context: ScriptContext, dialect: Dialect) -> Fragment:
    moved = refuse(
        dialect,
        MOVED,
        "rows are not as they were seen: ",
        figures=Fragment(
            "dbmend_other, '; at their target already: ', dbmend_done, '; as seen: ', dbmend_ready"
        ),
        rows=True,
    )
    skip = context.on_moved == "skip"
    return fill(
        "IF dbmend_ready = 0 AND {nothing_left} THEN\n"
        "RAISE NOTICE USING MESSAGE = pg_catalog.concat({already}, 'rows at their target: ', "
        "dbmend_done, '; skipped: ', dbmend_other);\nRETURN;\nEND IF;\n"
        "IF {stop} THEN\n{moved}END IF;\n"
        "IF dbmend_other > 0 THEN\n"
        "RAISE NOTICE USING MESSAGE = pg_catalog.concat('dbmend: skipped rows: ', dbmend_other), "
        "DETAIL = pg_catalog.concat(dbmend_text);\nEND IF;\n",
        nothing_left=Fragment("dbmend_done > 0" if skip else "dbmend_other = 0"),
        already=dialect.literal(ALREADY_APPLIED),
        stop=Fragment("dbmend_ready = 0" if skip else "dbmend_other + dbmend_done > 0"),
        moved=moved,
    )


def _count(writes: tuple[Write, ...], dialect: Dialect, *, done_is_fine: bool) -> Fragment:
    """How many staged rows are in which state, and the first few that stand in the way."""
    states = join(
        " UNION ALL\n",
        (
            fill(
                "SELECT {number} AS w, n, before, pg_catalog.concat({table}, ' ', "
                "pg_catalog.concat_ws(', ', {keys})) AS line FROM {st}",
                number=Fragment(str(write.number)),
                table=dialect.literal(write.table.name),
                keys=join(", ", numbered("k", len(write.table.key.columns) or 1)),
                st=staged(write),
            )
            for write in writes
        ),
    )
    good = Fragment("('ready', 'done')" if done_is_fine else "('ready')")
    return fill(
        "SELECT pg_catalog.count(*) FILTER (WHERE before = 'ready'),\n"
        "       pg_catalog.count(*) FILTER (WHERE before = 'done'),\n"
        "       pg_catalog.count(*) FILTER (WHERE before NOT IN ('ready', 'done'))\n"
        "  INTO dbmend_ready, dbmend_done, dbmend_other FROM (\n{states}) AS s;\n"
        "SELECT pg_catalog.string_agg(pg_catalog.concat(line, ': ', before), E'\\n' "
        "ORDER BY w, n)\n"
        "  INTO dbmend_text FROM (SELECT * FROM (\n{states}) AS s\n"
        " WHERE before NOT IN {good} ORDER BY w, n LIMIT {shown}) AS s;\n",
        states=states,
        good=good,
        shown=Fragment(str(_ROWS_SHOWN)),
    )


def _write(writes: tuple[Write, ...], schema: Schema, dialect: Dialect) -> Fragment:
    one_by_one = not spans(writes, schema)
    parts = [] if one_by_one else [switched_off(writes, dialect)]
    parts.append(deferred(writes, schema, dialect))
    for write in writes:
        if one_by_one:
            parts.append(switched_off((write,), dialect))
        parts.append(unplanned_children(write, schema, dialect))
        parts.append(write_statement(write, dialect))
        if one_by_one:
            parts.append(switched_on((write,), dialect))
    return join("", parts)


def _reached(write: Write, dialect: Dialect) -> Fragment:
    return fill(
        "SELECT pg_catalog.count(*) INTO dbmend_count FROM {st} "
        "WHERE before = 'ready' AND after IS DISTINCT FROM 'done';\n"
        "IF dbmend_count > 0 THEN\n{refuse}END IF;\n",
        st=staged(write),
        refuse=refuse(
            dialect,
            BROKEN,
            "rows of "
            + write.table.name
            + " that did not reach their target (a trigger, a rule or the column's type): ",
            figures=Fragment("dbmend_count"),
        ),
    )


def _keeps(context: ScriptContext, *, undo: bool) -> bool:
    return context.keep_saved and not undo


def _saved(write: Write, context: ScriptContext, dialect: Dialect) -> Fragment:
    schema = dialect.identifier(context.saved_schema)
    return fill(
        "CREATE SCHEMA IF NOT EXISTS {schema};\n"
        "CREATE TABLE IF NOT EXISTS {schema}.{name} AS SELECT * FROM {st};\n",
        schema=schema,
        name=dialect.identifier(write.group),
        st=staged(write),
    )


def _applied(dialect: Dialect) -> Fragment:
    return fill(
        "RAISE NOTICE USING MESSAGE = pg_catalog.concat({applied}, 'rows written: ', dbmend_ready, "
        "'; skipped: ', dbmend_other);\n",
        applied=dialect.literal(APPLIED),
    )
