"""The comment above a body: for whom and what, and how to run it. Not part of the digest, and
nothing in it can become SQL: every line is a comment, whatever a title holds.
"""

import hashlib
from itertools import groupby

from diffing.model import Schema
from recovery.model import EngineError, Exit
from recovery.script.body import locked
from recovery.script.context import ScriptContext
from recovery.script.sequences import moved_sequences
from recovery.script.staged import Write
from recovery.script.triggers import planned_off

MARKER = "-- ---- the body begins below this line; its SHA-256: "
_VERBS = {"set-cells": "change", "insert-rows": "insert", "delete-rows": "delete"}


def digest_of(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def body_digest(text: str) -> str:
    """The digest of the body of a script's text, computed anew.

    Raises EngineError(REFUSED) when the text is no script, or when its header holds anything but
    comments.
    """
    lines = text.split("\n")
    marks = [number for number, line in enumerate(lines) if line.startswith(MARKER)]
    if not marks:
        raise EngineError(Exit.REFUSED, "this text is no repair script: it has no body mark")
    for number, line in enumerate(lines[: marks[0] + 1], start=1):
        if not line.startswith("--") or "\r" in line:
            raise EngineError(
                Exit.REFUSED, "the header of the script holds more than comments", where=str(number)
            )
    return digest_of("\n".join(lines[marks[0] + 1 :]))


def stated_digest(text: str) -> str:
    """The digest that the header states; '' when it states none."""
    found = next((line for line in text.split("\n") if line.startswith(MARKER)), MARKER)
    return found.removeprefix(MARKER)


def header(
    writes: tuple[Write, ...], schema: Schema, context: ScriptContext, digest: str, *, undo: bool
) -> str:
    """All comment lines, the last one the mark with the body's digest."""
    name = "undo.sql" if undo else "repair.sql"
    lines = [
        "dbmend: " + ("takes back a repair" if undo else "repair") + ", case " + context.case,
        *context.title,
        "",
        "Made:       " + context.made_at.isoformat(),
        "Database:   " + (context.database or "the one whose evidence was analysed"),
        "Reviewed:   " + (", ".join(context.reviewers) or "NOT REVIEWED: a proposal"),
        "Agreed:     " + (context.agreement or "NOT AGREED: a proposal"),
        "Server:     PostgreSQL 11 or later",
        "Run it:     psql -X -v ON_ERROR_STOP=1 -d DATABASE -f " + name,
        "            or send the whole text through any client; half of it cannot run.",
        "",
        "What it writes:",
        *_writes(writes),
        "",
        *_behaviour(writes, schema, context),
        *(
            ("", "Rehearsed on a copy:", *("  " + line for line in context.proof))
            if context.proof
            else ()
        ),
        "",
        "This file holds values of the database: keep it as you keep the data.",
    ]
    comments = "".join(_comment(line) for line in lines)
    return comments + MARKER + digest + "\n"


def _writes(writes: tuple[Write, ...]) -> list[str]:
    lines = []
    for table, group in groupby(writes, key=lambda write: write.table.name):
        for write in group:
            columns = ", ".join(column.name for column in write.columns)
            what = " of " + columns if write.op == "set-cells" else ""
            lines.append(
                "  "
                + table
                + ": "
                + _VERBS[write.op]
                + " "
                + str(write.rows)
                + " rows"
                + what
                + " ("
                + write.group
                + ")"
            )
    return lines


def _behaviour(writes: tuple[Write, ...], schema: Schema, context: ScriptContext) -> list[str]:
    triggers = [table.name + "." + name for table, name in planned_off(writes)]
    sequences = sorted({sequence.name for _, sequence, _ in moved_sequences(writes, schema)})
    moved = (
        "nothing is written and the rows are named"
        if context.on_moved == "refuse"
        else "they and what depends on them are skipped and counted, the rest is written (PARTIAL)"
    )
    rows = sum(write.rows for write in writes)
    return [
        "It ends in one of three states: applied; already applied (a notice, nothing written);",
        "refused (an error that names why and which rows; nothing written).",
        "Rows that are not as they were seen: " + moved + ".",
        "Locks:      SHARE ROW EXCLUSIVE until it ends: "
        + ", ".join(table.name for table in locked(writes, schema))
        + " (readers go on, writers wait; it waits "
        + str(context.lock_timeout_seconds)
        + " s for them itself).",
        "WAL:        about " + str(max(1, rows * 2 // 1000)) + " MB and the size of the values.",
        "Rights:     the owner of the tables, or SELECT, INSERT, UPDATE, DELETE on them and "
        "TEMPORARY on the database" + ("; triggers need the owner" if triggers else "") + ".",
        "Triggers:   "
        + ("off meanwhile: " + ", ".join(triggers) if triggers else "all of them fire."),
        "Sequences:  "
        + (
            "moved forward when they are behind: " + ", ".join(sequences) + "; positions are"
            if sequences
            else "not moved; positions are"
        )
        + " neither rolled back nor undone.",
        "Objects:    "
        + (
            "the old values stay in schema " + context.saved_schema + "."
            if context.keep_saved
            else "none is left behind."
        ),
    ]


def _comment(line: str) -> str:
    plain = "".join(character if character.isprintable() else " " for character in line)
    return ("-- " + plain).rstrip() + "\n"
