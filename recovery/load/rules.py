"""What a load decides without a database: what is skipped, what is harmless, what is said."""

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

import psycopg

from recovery.sources.model import Statement

FindingKind = Literal[
    "violation",  # rows break a constraint or unique index, which is absent
    "statement",  # the server refused it
    "rows",  # the rows of a table could not be loaded
    "owner",  # objects belong to `jail` here
    "extension",
    "collation",  # order and equality of text are approximate
    "setting",
    "skipped",  # of no use here, or not to be run here
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the load could not do as the dump says. `rows` are JSON objects of texts, the
    first ones only; `message` counts all."""

    kind: FindingKind
    object: str
    message: str
    line: int  # as Statement.line
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    findings: tuple[Finding, ...]
    unloaded: dict[str, str]  # table -> why its rows are not, or not all, there


# What a scratch database has no use for, with the reason.
SKIPPED: Final[dict[str, str]] = {
    "DATABASE": "the scratch database has its own properties",
    "DATABASE PROPERTIES": "the scratch database has its own properties",
    "ROLE": "roles are made without rights as they are named",
    "USER": "roles are made without rights as they are named",
    "TABLESPACE": "everything is in one place here",
    "SYSTEM": "settings of a server are not a dump's to change",
    "DEFAULT ACL": "rights of objects yet to be made mean nothing here",
    "SECURITY LABEL": "labels mean nothing here",
    "PUBLICATION": "nothing leaves the scratch server",
    "PUBLICATION TABLE": "nothing leaves the scratch server",
    "PUBLICATION TABLES IN SCHEMA": "nothing leaves the scratch server",
    "SUBSCRIPTION": "nothing leaves the scratch server",
    "EVENT TRIGGER": "it would act on what is done to the scratch database",
    "FOREIGN DATA WRAPPER": "nothing leaves the scratch server",
    "SERVER": "nothing leaves the scratch server",
    "USER MAPPING": "nothing leaves the scratch server",
    "FOREIGN TABLE": "its rows are elsewhere",
    "STATISTICS DATA": "the scratch server gathers its own",
    "BLOB": "large objects are not compared",
    "BLOBS": "large objects are not compared",
    "BLOB METADATA": "large objects are not compared",
}
IGNORED: Final = frozenset({"TRANSACTION", "ENCODING", "STDSTRINGS", "SEARCHPATH"})
# Dumped before what they need when somebody wrote the script by hand.
SECOND_TRY: Final = frozenset(
    {"VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "DEFAULT", "ACL", "COMMENT"}
)
CHECKED: Final = frozenset({"CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "INDEX"})
ROWS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "SEQUENCE SET"})
ABSENT: Final = frozenset({"42P01", "42704", "42883", "3F000"})  # undefined_...
DROPS_ELSEWHERE: Final = re.compile(r"DROP\s+(DATABASE|ROLE|USER|TABLESPACE)\b", re.IGNORECASE)
DEFAULT_PATH: Final = Statement("RESET search_path", "pre-data", 0, "SET")
_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\s"().,;]+)'
TARGET: Final = re.compile(
    r"\s*(?:COPY|INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?)"
    rf"\s+(?:ONLY\s+)?({_NAME}(?:\s*\.\s*{_NAME})?)",
    re.IGNORECASE,
)
BATCH_BYTES: Final = 1 << 20
SCRATCH_PER_BYTE: Final = 4  # rows, indexes, WAL and a clone for each byte of a plain dump
COMPRESSION: Final = 6


def sets_path(statement: Statement) -> bool:
    return statement.kind == "SET" and "search_path" in statement.sql


def harmless(statement: Statement, error: psycopg.Error) -> bool:
    """Refused because it is so already, or because it is about what is not the dump's."""
    state = error.sqlstate
    match statement.kind:
        case "SCHEMA":
            return state == "42P06"
        case "COMMENT":
            return state == "42501"  # on an extension, or the database
        case "DROP":
            return state in ABSENT or DROPS_ELSEWHERE.match(statement.sql) is not None
        case "TABLE":
            return (
                state in ABSENT and re.match(r"ALTER\b.*\bDROP\b", statement.sql, re.S) is not None
            )
    return False


def as_logged(statement: Statement) -> Statement:
    """Unlogged tables never appear in what is decoded from the log."""
    text, count = re.subn(
        r"\A(CREATE\s+)UNLOGGED\s+", r"\1", statement.sql, count=1, flags=re.IGNORECASE
    )
    return replace(statement, sql=text) if count else statement


def written_table(statement: str) -> str:
    """The table that a statement writes, as it says it; '' when that cannot be seen."""
    found = TARGET.match(statement)
    return found[1] if found else ""


def words_of(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).strip()


def row_of(error: psycopg.Error) -> str:
    """Which row of the block, without its values."""
    found = re.search(r"\bline (\d+)", error.diag.context or "")
    return f" (row {found[1]} of the block)" if found else ""
