"""The step log as a history that scratch can run: statements, and the time each step sees."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgast
from psycopg import sql

from diffing.model import Schema, parts
from recovery.model import Act, Edit, Event, History, Import, Restore, Sql, Step, StepLog, Supply
from recovery.replay.restored import Restored, restore

_NO_TIME_KNOWN = datetime(2000, 1, 1, tzinfo=UTC)


def history(
    log: StepLog,
    schema: Schema,
    *,
    begins: datetime | None,
    sources: Mapping[Path, Restored] | None = None,
) -> History:
    """Steps in the order of the list. A step without a time happens a moment after the one
    before it; `begins` is when the backup was taken, if that is known. `sources` are those that
    steps restored tables from, where they are in scratch."""
    now = begins or next((step.at for step in log.steps if step.at), _NO_TIME_KNOWN)
    acts: list[Act] = []
    for step in log.steps:
        now = _moment(step) or now + timedelta(milliseconds=1)
        acts.append(_act(step, schema, now, sources or {}))
    return tuple(acts)


def _moment(step: Step) -> datetime | None:
    if step.at and step.until:
        return step.at + (step.until - step.at) / 2
    return step.at


def _act(step: Step, schema: Schema, at: datetime, sources: Mapping[Path, Restored]) -> Act:
    match step.action:
        case Import() as given:
            supply = Supply(given.table, given.file)
            return Act(step.id, (_copy(given),), at, supplies=(supply,))
        case Restore(source) as given:
            known = sources.get(source)
            return restore(step.id, given, schema, known, at)
        case Sql(text):
            return Act(step.id, _statements(text), at, step.transaction)
        case Edit() as edit if not schema.has(edit.table):
            return Act(step.id, (), at, why=f"the backup has no table {edit.table}")
        case Edit() as edit:
            return Act(step.id, (edit_statement(edit, schema),), at)
        case Event(kind):
            return Act(step.id, (), at, why=f"an event ({kind}): nothing to run")
        case None:
            return Act(step.id, (), at, why="prose: it cannot be run")


def _statements(text: str) -> tuple[str, ...]:
    try:
        return tuple(postgast.split(text))
    except postgast.PgQueryError:
        return (text,)  # the server refuses it in its own words


def _copy(given: Import) -> str:
    """What reads the file. The table need not be one of the backup: the server decides."""
    listed = sql.SQL(", ").join(sql.Identifier(name) for name in given.columns)
    columns = sql.SQL(" ({})" if given.columns else "{}").format(listed)
    return (
        sql.SQL("COPY {}{} FROM STDIN (FORMAT csv, HEADER {}, DELIMITER {}, ENCODING {})")
        .format(
            sql.Identifier(*parts(given.table)),
            columns,
            sql.SQL("true" if given.header else "false"),
            sql.Literal(given.delimiter),
            sql.Literal(given.encoding),
        )
        .as_string(None)
    )


def edit_statement(edit: Edit, schema: Schema) -> str:
    """The UPDATE that a form sends for one row."""
    table = schema.table(edit.table)

    def assign(pair: tuple[str, str | None]) -> sql.Composed:
        return sql.SQL("{} = {}").format(sql.Identifier(pair[0]), sql.Literal(pair[1]))

    return (
        sql.SQL("UPDATE {} SET {} WHERE {}")
        .format(
            sql.Identifier(table.schema, table.relation),
            sql.SQL(", ").join(assign(pair) for pair in edit.set),
            sql.SQL(" AND ").join(assign(pair) for pair in edit.key),
        )
        .as_string(None)
    )
