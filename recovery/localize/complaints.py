"""What the customer knows to be wrong, or right, held against what was found."""

import json
from collections.abc import Mapping

import duckdb

from diffing.model import Schema
from recovery.messages import message
from recovery.model import Complaint, Question, StepLog


def heard(facts: duckdb.DuckDBPyConnection, log: StepLog, schema: Schema) -> tuple[Question, ...]:
    """What the customer knows to be wrong and no fault explains becomes damage without a target;
    what is said to be fine and is damaged becomes a question."""
    questions = []
    for number, complaint in enumerate(log.complaints, 1):
        key = _key(schema, complaint)
        if key is None:
            continue
        known = facts.execute(
            'SELECT count(*) FROM damage WHERE "table" = ? AND key = ?'
            " AND (\"column\" = ? OR ? = '')",
            [complaint.table, key, complaint.column, complaint.column],
        ).fetchone()
        assert known is not None
        if complaint.fine and known[0]:
            facts.execute(
                "UPDATE damage SET grade = 'undecided', target = NULL"
                ' WHERE "table" = ? AND key = ? AND ("column" = ? OR ? = \'\')',
                [complaint.table, key, complaint.column, complaint.column],
            )
            text = message(
                "{table} {key}: you say it is right, the step log says it is damaged",
                table=complaint.table,
                key=key,
            )
            questions.append(Question(f"C{number}", text, (), 1))
        elif not complaint.fine and not known[0]:
            _unexplained(facts, complaint, key)
            text = message(
                "{table} {key}: you say it is wrong, and no step explains why",
                table=complaint.table,
                key=key,
            )
            questions.append(Question(f"C{number}", text, (), 1))
    return tuple(questions)


def _unexplained(facts: duckdb.DuckDBPyConnection, complaint: Complaint, key: str) -> None:
    facts.execute(
        """INSERT INTO damage SELECT $table, $key, $column, 'unexplained', '', '', 'unknown',
            first(d.backup), NULL, first(d.current), NULL, 'undecided', ''
        FROM (SELECT 1) LEFT JOIN divergence d
          ON d."table" = $table AND d.key = $key AND d."column" = $column""",
        {"table": complaint.table, "key": key, "column": complaint.column},
    )


def _key(schema: Schema, complaint: Complaint) -> str | None:
    """The key of a complaint in the form of all keys; None when the table has no such key."""
    if not schema.has(complaint.table):
        return None
    given = dict(complaint.key)
    names = schema.table(complaint.table).key.columns
    if set(given) != set(names):
        return None
    ordered: Mapping[str, str | None] = {name: given[name] for name in names}
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
