"""What the customer knows to be wrong, or right, held against what was found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from diffing.model import Schema
from recovery.messages import message
from recovery.model import Complaint, Question, StepLog

_MISTAKEN = 0.1  # of all complaints
_RELATION = """
CREATE OR REPLACE TEMP TABLE complaint (
    number INTEGER, "table" VARCHAR, key VARCHAR, "column" VARCHAR, fine BOOLEAN,
    should_be VARCHAR, has_value BOOLEAN, answered BOOLEAN DEFAULT false)
"""

# The forecast that was looked at last (relation `seen`) beside open complaints. Numbers are the
# same however they are written.
_AGREEMENT = """
WITH said AS (
    SELECT c.number, c.fine, c.has_value AND s."column" = c."column" AS has_value,
           s.{target} IS NOT DISTINCT FROM c.should_be
               OR try_cast(s.{target} AS DECIMAL(38, 9)) = try_cast(c.should_be AS DECIMAL(38, 9))
               AS same
    FROM complaint c JOIN seen s ON s."table" = c."table" AND s.key = c.key
     AND (c."column" IN ('', s."column") OR s."column" = '')
    WHERE NOT c.answered AND s.current IS NOT DISTINCT FROM s.{faulty})
SELECT count(DISTINCT number) FILTER (NOT fine),
       count(DISTINCT number) FILTER (NOT fine AND has_value AND same),
       count(DISTINCT number) FILTER (NOT fine AND has_value AND NOT same),
       count(DISTINCT number) FILTER (fine)
FROM said
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Complaints that a supposition explains: cells said to be wrong that it calls damaged, those
    with a right value that it gives as well, or gives otherwise, and cells said to be fine that
    it calls damaged."""

    explained: int = 0
    right: int = 0
    against: int = 0
    fine: int = 0


NOTHING_SAID = Agreement()


def lay_out(facts: duckdb.DuckDBPyConnection, log: StepLog, schema: Schema) -> None:
    """Make the relation `complaint` of those that name a row as the schema does. None of them is
    `answered` yet: explained by a fault that was found."""
    facts.execute(_RELATION)
    for number, one in enumerate(log.complaints, 1):
        key = _key(schema, one)
        if key is not None:
            facts.execute(
                "INSERT INTO complaint VALUES (?, ?, ?, ?, ?, ?, ?, false)",
                [number, one.table, key, one.column, one.fine, one.should_be, one.has_value],
            )


def agreement(facts: duckdb.DuckDBPyConnection, *, meant: bool) -> Agreement:
    """Open complaints beside the forecast that was scored last."""
    target, faulty = ("value", "base") if meant else ("base", "value")
    row = facts.execute(_AGREEMENT.format(target=target, faulty=faulty)).fetchone()
    assert row is not None
    return Agreement(*(int(number) for number in row))


def answered(facts: duckdb.DuckDBPyConnection, name: str) -> None:
    """The fault of this forecast was found: complaints about its cells are answered."""
    facts.execute(
        """UPDATE complaint SET answered = true WHERE NOT fine AND number IN (
            SELECT c.number FROM complaint c JOIN forecast p
              ON p.name = ? AND p."table" = c."table" AND p.key = c.key
             AND (c."column" IN ('', p."column") OR p."column" = ''))""",
        [name],
    )


def unanswered(facts: duckdb.DuckDBPyConnection) -> float:
    """The share of the complaints about wrong cells that no fault explains, less the one in ten
    that is a mistake; 0 without complaints."""
    row = facts.execute(
        "SELECT count(*), count(*) FILTER (NOT answered) FROM complaint WHERE NOT fine"
    ).fetchone()
    assert row is not None
    said, left = (int(number) for number in row)
    return max(0.0, left / said - _MISTAKEN) if said else 0.0


def reopened(facts: duckdb.DuckDBPyConnection) -> None:
    """No complaint is answered."""
    facts.execute("UPDATE complaint SET answered = false")


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
